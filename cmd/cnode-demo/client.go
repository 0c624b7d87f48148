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

// dial connects a node of our own, which lives for one command only, to target. It neither listens nor is published, and is hidden. end
// ends it, and says whether it has been recorded as --trace wants it.
//
// It has a whole name rather than a dynamic one: a libei node, or an OTP before 23, gives none. As with erl_call the name contains the
// process number: it is nobody else's now, and the next commands do not fill the peer's atom table with ever new names.
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
			_ = n.Close() // what it had to say has been said
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

// handshakeTime is how long a handshake may take: the time of the whole command, where it has been given more than is usual.
func handshakeTime(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return nodes.DefaultHandshakeTimeout
	}
	return max(time.Until(end), nodes.DefaultHandshakeTimeout)
}
