package nodes

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/nodes/internal/life"
)

// background runs f on a goroutine that Close waits for; false when the node is closing.
func (n *Node) background(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.goroutines.Run(f)
	return true
}

// Done is closed when the node begins to close.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

// Err is why the node closed: ErrClosed after Close or Shutdown, ErrMoved when it goes on in
// another process; nil while it lives.
func (n *Node) Err() error {
	if n.ctx.Err() == nil {
		return nil
	}
	return context.Cause(n.ctx)
}

// ending is why no freeze or other large operation begins any more: the node closes, or is being
// shut down.
func (n *Node) ending() error {
	if err := n.Err(); err != nil || n.shutting.Load() == 0 {
		return err
	}
	return ErrClosed
}

// lockUnfrozen locks mu once the node is not frozen, unless ctx ends before. A node that is still
// being restored is not frozen in this sense.
func (n *Node) lockUnfrozen(ctx context.Context) error {
	for {
		n.mu.Lock()
		if n.life.Phase() < life.Draining {
			return nil
		}
		n.mu.Unlock()
		if err := n.life.Before(ctx, life.Draining); err != nil {
			return err
		}
	}
}

// hasMoved tells whether the node has gone on in another process.
func (n *Node) hasMoved() bool { return errors.Is(n.Err(), ErrMoved) }
