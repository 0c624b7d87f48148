package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// dial makes a node that lives for one command only, and connects it to target. The node neither
// listens nor is published, and is hidden. end closes the node, and returns the error of the
// recording that --trace asks for, if any.
//
// The node has a full name rather than a dynamic one, since libei nodes, and OTP before 23, give
// none. As with erl_call the name contains the process number: no other process has that name now,
// and the numbers of later commands do not fill the peer's atom table with ever new names.
func (o *options) dial(ctx context.Context, target string, errOut io.Writer) (n *nodes.Node, c *nodes.Conn, end func() error, err error) {
	name, err := o.fullName(fmt.Sprintf("cnode-demo-%d", os.Getpid()), hostBeside(target, os.Hostname))
	if err != nil {
		return nil, nil, nil, err
	}
	cfg, err := o.clientConfig(name, target, errOut)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg.HandshakeTimeout = handshakeTime(ctx)
	record, err := o.virtual.over(ctx, &cfg, errOut)
	if err == nil {
		if err = record.begin(); err != nil {
			_ = record.finish()
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	end = func() error {
		if n != nil {
			_ = n.Close() // everything has been sent and received
		}
		return record.finish()
	}
	if n, err = nodes.New(cfg); err == nil {
		c, err = n.Connect(ctx, target)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, end())
	}
	return n, c, end, nil
}

// handshakeTime is how long a handshake may take: as long as the whole command, if that is more
// than the default.
func handshakeTime(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return nodes.DefaultHandshakeTimeout
	}
	return max(time.Until(end), nodes.DefaultHandshakeTimeout)
}
