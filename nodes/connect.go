package nodes

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// Connect finds the node called name through the Resolver, connects and does the handshake, within Config.HandshakeTimeout. A node that is connected already is ErrConnected, the node's own name
// dist.ErrSelf. When the peer connects at the same time one of the two attempts wins, and Connect returns that connection. It is ei_connect.
func (n *Node) Connect(ctx context.Context, name string) (*Conn, error) {
	c, fresh, err := n.dial(ctx, name, nil)
	if err == nil && !fresh {
		err = ErrConnected
	}
	if err != nil {
		return nil, wrap("connect", name, err)
	}
	return c, nil
}

// ConnectAddr is Connect without a Resolver: to the node that listens at addr, over Config.Transport. name is the node that must
// answer there; empty takes any. It is ei_connect_host_port and ei_xconnect.
func (n *Node) ConnectAddr(ctx context.Context, addr transport.Addr, name string) (*Conn, error) {
	at := Endpoint{Addr: addr}
	if name == "" {
		ctx, cancel := n.handshakeTime(ctx)
		defer cancel()
		c, err := n.open(ctx, "", at)
		return c, wrap("connect", addr.String(), err)
	}
	c, fresh, err := n.dial(ctx, name, &at)
	if err == nil && !fresh {
		err = ErrConnected
	}
	if err != nil {
		return nil, wrap("connect", name, err)
	}
	return c, nil
}

// errTimeout is why a handshake's context ends by itself.
var errTimeout = fmt.Errorf("the handshake took too long: %w", context.DeadlineExceeded)

// handshakeTime bounds ctx by Config.HandshakeTimeout and the life of the node.
func (n *Node) handshakeTime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	after := context.AfterFunc(n.ctx, func() { stop(ErrClosed) })
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.HandshakeTimeout, errTimeout)
	return ctx, func() { cancel(); after(); stop(nil) }
}

// dial gets a connection to name: the one that is up (fresh is false), one that others are about to make, or a new one.
func (n *Node) dial(ctx context.Context, name string, at *Endpoint) (c *Conn, fresh bool, err error) {
	if err := dist.CheckName(name); err != nil {
		return nil, false, err
	}
	ctx, cancel := n.handshakeTime(ctx)
	defer cancel()
	for waited := false; ; waited = true {
		n.mu.Lock()
		if name == n.name {
			n.mu.Unlock()
			return nil, false, dist.ErrSelf
		}
		p := n.peerLocked(name)
		if p.conn == nil && p.outgoing == nil && p.incoming == nil {
			return n.attempt(ctx, name, p, at) // releases n.mu
		}
		c, change := p.conn, p.change
		n.mu.Unlock()
		if c != nil {
			if c.Err() == nil {
				return c, waited, nil
			}
			change = c.left
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// attempt makes a connection of our own while the table says so. It is called with n.mu held, and releases it.
func (n *Node) attempt(ctx context.Context, name string, p *peer, at *Endpoint) (*Conn, bool, error) {
	actx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &attempt{cancel: cancel}
	p.outgoing = a
	n.mu.Unlock()

	var c *Conn
	var err error
	if at == nil {
		at = new(Endpoint)
		*at, err = n.cfg.Resolver.Resolve(actx, name)
	}
	if err == nil {
		c, err = n.open(actx, name, *at)
	}

	n.mu.Lock()
	p = n.peerLocked(name)
	if p.outgoing == a {
		p.outgoing = nil
	}
	n.changedLocked(name, p)
	n.mu.Unlock()
	if err == nil {
		return c, true, nil
	}
	if context.Cause(actx) == ErrSuperseded || errors.Is(err, dist.ErrNok) || errors.Is(err, ErrConnected) {
		if c := n.awaitPeer(ctx, name); c != nil { // the peer's own attempt goes on
			return c, true, nil
		}
	}
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return nil, false, err
}

// awaitPeer waits for the peer's own connection; nil when it does not come.
func (n *Node) awaitPeer(ctx context.Context, name string) *Conn {
	began := false
	for {
		n.mu.Lock()
		p := n.peerLocked(name)
		c, change := p.conn, p.change
		began = began || p.incoming != nil
		over := began && p.incoming == nil
		n.mu.Unlock()
		if c != nil || over {
			return c
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil
		}
	}
}

// open connects to an endpoint and does the handshake.
func (n *Node) open(ctx context.Context, name string, at Endpoint) (*Conn, error) {
	tr := at.Transport
	if tr == nil {
		tr = n.cfg.Transport
	}
	addr := at.Addr
	if name != "" {
		addr = transport.WithPeerName(addr, name)
	}
	s, err := tr.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, err := n.finish(ctx, s, name, at.Version5)
	if err != nil {
		return nil, errors.Join(err, quietly(s.Close()))
	}
	return c, nil
}

func (n *Node) finish(ctx context.Context, s *transport.Stream, name string, version5 bool) (*Conn, error) {
	p, err := n.initiate(ctx, s, name, version5)
	if err != nil {
		return nil, err
	}
	if err := n.takeName(p); err != nil {
		return nil, err
	}
	if err := s.HandshakeComplete(ctx, true); err != nil {
		return nil, err
	}
	c := newConn(n, s, p, true)
	if err := n.enter(c, nil); err != nil {
		return nil, err
	}
	c.begin()
	return c, nil
}

// quietly keeps of an error that comes while another one is returned only what a person must know: that a plug-in does not come
// back.
func quietly(err error) error {
	if errors.Is(err, transport.ErrUnresponsive) {
		return err
	}
	return nil
}
