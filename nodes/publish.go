package nodes

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// Publish makes the listener's address known under the node's name, through the Resolver, and
// adopts the creation that it is given there; if identifiers or connections have been made before,
// the error is ErrTooLate. After Unpublish it publishes again, and keeps the creation; so does a
// dynamic node, which has its creation from the peer that named it. With a Resolver that publishes
// nothing (a static table) the creation stays random. Publish waits for the Publisher's answer, a
// PortMapper's say, until ctx ends or the node is closed (ErrClosed), and while the node is frozen;
// if another process goes on as the node, the error is ErrMoved, and the Publication made here is
// closed. The error is ErrPublished if the node is published already, ErrUnnamed if it has no name;
// others are the Publisher's. It is ei_publish.
func (n *Node) Publish(ctx context.Context, l *Listener) error {
	pub, ok := n.cfg.Resolver.(Publisher)
	n.mu.Lock()
	name := n.name
	var err error
	switch {
	case n.ctx.Err() != nil:
		err = n.Err()
	case name == "":
		err = ErrUnnamed
	case n.published != nil:
		err = ErrPublished
	case n.used && ok && !n.settled:
		err = ErrTooLate
	}
	n.mu.Unlock()
	if err != nil || !ok {
		return wrap("publish", name, err)
	}
	return wrap("publish", name, n.publish(ctx, pub, l))
}

// publish publishes the address of a listener; nil: the node has none.
func (n *Node) publish(ctx context.Context, pub Publisher, l *Listener) (err error) {
	defer endedBy(ctx, &err)
	ctx, cancel := n.lifetime(ctx)
	defer cancel()
	made, err := pub.Publish(ctx, n.registration(l))
	if err != nil {
		if ctx.Err() != nil {
			err = because(ctx, err)
		}
		return err
	}
	return n.keep(ctx, made, l)
}

// registration is what a Publisher is told.
func (n *Node) registration(l *Listener) Registration {
	p := Registration{Name: n.Name(), Hidden: !n.cfg.Visible, Logger: n.log}
	if l != nil {
		p.Addr = l.Addr()
	}
	return p
}

// keep makes a publication the node's, once the node is not frozen, or closes it if it comes too
// late. The first publication settles the creation; a later one leaves it as it is.
func (n *Node) keep(ctx context.Context, p Publication, l *Listener) error {
	err := n.lockUnfrozen(ctx)
	if err == nil {
		err = n.keepLocked(p, l)
		n.mu.Unlock()
	}
	if err != nil {
		_ = p.Close()
		return cmp.Or(n.Err(), err)
	}
	n.tellRepublished()
	return nil
}

// isPublished tells whether the node is found under its name, as far as this process has the name.
func (n *Node) isPublished() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.published != nil
}

func (n *Node) tellRepublished() {
	if n.republished != nil {
		n.republished()
	}
}

func (n *Node) keepLocked(p Publication, l *Listener) error {
	switch {
	case n.ctx.Err() != nil:
		return n.Err()
	case n.published != nil:
		return ErrPublished
	case n.used && !n.settled:
		return ErrTooLate
	}
	n.published, n.publishedAt = p, l
	if c := p.Creation(); c != 0 && !n.settled {
		n.creation = c
	}
	n.settled = true
	return nil
}

// Unpublish takes the name back; connections and the creation stay. It waits while the node is
// frozen, and as long as Close of the Publication does, whose error it returns. If nothing is
// published it does nothing. It is ei_unpublish.
func (n *Node) Unpublish() error {
	_, err := n.takeBack(func() bool { return true })
	return err
}

// unpublish is Unpublish for a listener that is broken, if it is the one that was published.
func (n *Node) unpublish(l *Listener) (was bool) {
	was, _ = n.takeBack(func() bool { return n.publishedAt == l }) // whose connections would be refused
	return was
}

// takeBack takes the name back, if it is published and is, called with n.mu held, is true.
func (n *Node) takeBack(is func() bool) (was bool, err error) {
	// else it could take back the name of a process that goes on as this node
	_ = n.lockUnfrozen(context.Background())
	p := n.published
	if p == nil || !is() {
		n.mu.Unlock()
		return false, nil
	}
	n.published = nil
	n.mu.Unlock()
	n.tellRepublished()
	return true, wrap("unpublish", "", p.Close())
}

// An UnreachableError says why other nodes, which look for a node at the address of its name's
// host, will not find it.
type UnreachableError struct {
	Host    string
	At      netip.Addr // of the host; not valid if it has none
	Listens netip.Addr // the address that the node listens on
	Err     error      // of the look-up
}

// Error gives both addresses.
func (e *UnreachableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("other nodes may not find this one: host %q has no address (%v); x@127.0.0.1 needs none", e.Host, e.Err)
	}
	return fmt.Sprintf("other nodes will look for this one at %v, but it listens on %v only", e.At, e.Listens)
}

// Unwrap gives the error of the look-up.
func (e *UnreachableError) Unwrap() error { return e.Err }

// lookupLimit bounds the look-up of the node's own host name.
const lookupLimit = 2 * time.Second

// CheckReachable returns an *UnreachableError for a node that listens at addr, on the loopback
// interface only, while its name leads elsewhere: short host names often do. It looks the host up,
// for two seconds at most.
func CheckReachable(ctx context.Context, name string, addr transport.Addr) error {
	at, err := transport.AddrPort(addr)
	if err != nil || !at.Addr().IsLoopback() {
		return nil
	}
	_, host, err := dist.SplitName(name)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	e := &UnreachableError{Host: host, Listens: at.Addr().Unmap(), Err: err}
	if err == nil {
		if slices.ContainsFunc(ips, func(ip netip.Addr) bool { return ip.Unmap() == e.Listens }) {
			return nil
		}
		e.At = ips[0].Unmap()
	}
	return e
}
