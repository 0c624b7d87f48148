package main

import (
	"context"
	"io"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A whole is what others see as one node: a node in this process alone, or a front with its
// workers.
type whole interface {
	config() *nodes.Config
	// knows gives the forms of state that a previous process may hand over. The first is also the
	// form that this process hands over.
	knows() []string
	// workers is the upgrade of the previous process's workers; nil: this kind of node has no
	// workers.
	workers() *succeeding
	// start starts the node anew.
	start(ctx context.Context) error
	// restore makes the node from what a previous process hands over; it runs once the result is
	// started.
	restore(state []byte, fds []int) (handoff.Staged, error)

	// To be called only after start or restore:

	Name() string
	Listeners() []*nodes.Listener
	Offer() *handoff.Offer
}

// begin makes w run, anew or as the successor of another process, and reachable for a successor of
// its own.
func (o *options) begin(ctx context.Context, w whole, errOut io.Writer) (*control, error) {
	ch, err := o.succession.channel(ctx, w.config().Name)
	if err != nil {
		return nil, err
	}
	c := newControl(o, w)
	var before *handoff.Control
	if ch == nil {
		err = o.beginAnew(ctx, w)
	} else {
		before, err = o.succeed(ctx, w, ch, errOut)
	}
	if err != nil {
		return nil, err
	}
	c.listeners, c.before = w.Listeners(), o.succession.before
	c.run(ctx, w.Offer(), before, errOut)
	return c, nil
}

// beginAnew makes w run where it listens by the flags, or by the service manager.
func (o *options) beginAnew(ctx context.Context, w whole) error {
	if err := o.activated(w.config()); err != nil {
		return err
	}
	return w.start(ctx)
}

// succeed makes w run in place of the process at the other end of the channel. It gives that
// process's control socket; nil: it had none.
func (o *options) succeed(ctx context.Context, w whole, ch *handoff.Channel, errOut io.Writer) (*handoff.Control, error) {
	h := &heir{whole: w, succession: &o.succession, errOut: errOut}
	err := h.take(ctx, ch)
	return h.control, err
}
