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
	"github.com/cnode-go/cnode/nodes/internal/wait"
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
	case n.publishing.published != nil:
		err = ErrPublished
	case n.used && ok && !n.settled:
		err = ErrTooLate
	}
	n.mu.Unlock()
	if err != nil || !ok {
		return wrap("publish", name, err)
	}
	return wrap("publish", name, n.publishing.publish(ctx, pub, l))
}

// publishing is what is published of a node; Node.mu guards it.
type publishing struct {
	n         *Node
	published Publication
	// the listener whose address is published; nil: another process's, or none
	publishedAt *Listener
	// called after the name was published, or taken back: the front tells its workers; nil: nobody
	republished func()
}

// publish publishes the address of a listener; nil: the node has none.
func (s *publishing) publish(ctx context.Context, pub Publisher, l *Listener) (err error) {
	defer wait.EndedBy(ctx, &err)
	ctx, cancel := s.n.lifetime(ctx)
	defer cancel()
	made, err := pub.Publish(ctx, s.registration(l))
	if err != nil {
		if ctx.Err() != nil {
			err = wait.Because(ctx, err)
		}
		return err
	}
	return s.keep(ctx, made, l)
}

// registration is what a Publisher is told.
func (s *publishing) registration(l *Listener) Registration {
	p := Registration{Name: s.n.Name(), Hidden: !s.n.cfg.Visible, Logger: s.n.log}
	if l != nil {
		p.Addr = l.Addr()
	}
	return p
}

// keep makes a publication the node's, once the node is not frozen, or closes it if it comes too
// late. The first publication settles the creation; a later one leaves it as it is.
func (s *publishing) keep(ctx context.Context, p Publication, l *Listener) error {
	err := s.n.lockUnfrozen(ctx)
	if err == nil {
		err = s.keepLocked(p, l)
		s.n.mu.Unlock()
	}
	if err != nil {
		_ = p.Close()
		return cmp.Or(s.n.Err(), err)
	}
	s.tellRepublished()
	return nil
}

// isPublished tells whether the node is found under its name, as far as this process has the name.
func (s *publishing) isPublished() bool {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	return s.published != nil
}

func (s *publishing) tellRepublished() {
	if s.republished != nil {
		s.republished()
	}
}

func (s *publishing) keepLocked(p Publication, l *Listener) error {
	switch {
	case s.n.ctx.Err() != nil:
		return s.n.Err()
	case s.published != nil:
		return ErrPublished
	case s.n.used && !s.n.settled:
		return ErrTooLate
	}
	s.published, s.publishedAt = p, l
	if c := p.Creation(); c != 0 && !s.n.settled {
		s.n.creation = c
	}
	s.n.settled = true
	return nil
}

// Unpublish takes the name back; connections and the creation stay. It waits while the node is
// frozen, until ctx ends, and as long as Close of the Publication does, whose error it returns. If
// nothing is published it does nothing. It is ei_unpublish.
func (n *Node) Unpublish(ctx context.Context) error {
	_, err := n.publishing.takeBack(ctx, func() bool { return true })
	return err
}

// unpublish is Unpublish for a listener that is broken, if it is the one that was published.
func (s *publishing) unpublish(l *Listener) (was bool) {
	was, _ = s.takeBack(context.Background(), func() bool { return s.publishedAt == l }) // whose connections would be refused
	return was
}

// takeBack takes the name back, if it is published and is, called with n.mu held, is true.
func (s *publishing) takeBack(ctx context.Context, is func() bool) (was bool, err error) {
	// else it could take back the name of a process that goes on as this node
	if err := s.n.lockUnfrozen(ctx); err != nil {
		return false, wrap("unpublish", "", err)
	}
	p := s.published
	if p == nil || !is() {
		s.n.mu.Unlock()
		return false, nil
	}
	s.published = nil
	s.n.mu.Unlock()
	s.tellRepublished()
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
