package nodes

import (
	"context"

	"github.com/cnode-go/cnode/transport"
)

// Publish makes the listener's address known under the node's name, through the Resolver, and takes the creation that it is given
// there; identifiers and connections made before are ErrTooLate. A Resolver that publishes nothing (a static table) leaves the
// random creation. It is ei_publish.
func (n *Node) Publish(ctx context.Context, l *Listener) error {
	pub, ok := n.cfg.Resolver.(Publisher)
	n.mu.Lock()
	name := n.name
	var err error
	switch {
	case name == "":
		err = ErrUnnamed
	case n.published != nil:
		err = ErrPublished
	case n.used && ok && n.cfg.Creation == 0:
		err = ErrTooLate
	}
	n.mu.Unlock()
	if err != nil || !ok {
		return wrap("publish", name, err)
	}
	return wrap("publish", name, n.publish(ctx, pub, l.Addr()))
}

func (n *Node) publish(ctx context.Context, pub Publisher, addr transport.Addr) error {
	ctx, cancel := n.lifetime(ctx)
	defer cancel()
	p, err := pub.Publish(ctx, Presence{Name: n.Name(), Addr: addr, Hidden: !n.cfg.Visible, Logger: n.log})
	if err != nil {
		if ctx.Err() != nil {
			err = because(ctx, err)
		}
		return err
	}
	n.mu.Lock()
	switch {
	case n.ctx.Err() != nil:
		err = ErrClosed
	case n.published != nil:
		err = ErrPublished
	case n.used && n.cfg.Creation == 0:
		err = ErrTooLate
	default:
		n.published = p
		if c := p.Creation(); c != 0 && n.cfg.Creation == 0 {
			n.creation = c
		}
	}
	n.mu.Unlock()
	if err != nil {
		_ = p.Close()
	}
	return err
}

// Unpublish takes the name back; connections stay. The creation stays too. It is ei_unpublish.
func (n *Node) Unpublish() error {
	if n.Err() == nil {
		_ = n.unfrozen(n.ctx)
	}
	n.mu.Lock()
	p := n.published
	n.published = nil
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	return wrap("unpublish", "", p.Close())
}
