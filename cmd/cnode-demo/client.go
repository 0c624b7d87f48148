package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/cnode-go/cnode/nodes"
)

// dial connects a node of our own, which lives for one command only, to target. It neither listens nor is published, and is hidden.
//
// It has a whole name rather than a dynamic one: a libei node, or an OTP before 23, gives none. As with erl_call the name contains the
// process number: it is nobody else's now, and the next commands do not fill the peer's atom table with ever new names.
func (o *options) dial(ctx context.Context, target string, errOut io.Writer) (n *nodes.Node, c *nodes.Conn, err error) {
	name, err := o.fullName(fmt.Sprintf("cnode-demo-%d", os.Getpid()))
	if err != nil {
		return nil, nil, err
	}
	cfg, err := o.clientConfig(name, target, o.logger(errOut))
	if err != nil {
		return nil, nil, err
	}
	if n, err = nodes.New(cfg); err != nil {
		return nil, nil, err
	}
	if c, err = n.Connect(ctx, target); err != nil {
		_ = n.Close() // nothing was opened
		return nil, nil, err
	}
	return n, c, nil
}
