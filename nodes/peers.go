package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/dist"
)

// A peer is what the node knows of one other node: at most one connection, and the attempts to get one. It is guarded by Node.mu.
type peer struct {
	conn     *Conn    // up
	outgoing *attempt // our own attempt
	incoming *attempt // the peer's
	change   chan struct{}
}

// An attempt is a handshake in progress.
type attempt struct {
	name     string // of the peer, once it is on the table
	order    uint64 // of those that peers have started: which came first
	cancel   context.CancelCauseFunc
	replaces *Conn  // the connection that the peer has been asked about (status alive)
	stake    *stake // what the front counts the attempt by, in a worker
}

// peerLocked finds or makes the entry of a name.
func (n *Node) peerLocked(name string) *peer {
	p := n.peers[name]
	if p == nil {
		p = &peer{change: make(chan struct{})}
		n.peers[name] = p
	}
	return p
}

// changedLocked wakes whoever waits for something about the peer, and forgets a peer of which nothing is known.
func (n *Node) changedLocked(name string, p *peer) {
	close(p.change)
	p.change = make(chan struct{})
	if p.conn == nil && p.outgoing == nil && p.incoming == nil {
		delete(n.peers, name)
	}
}

// decide is the accepting side's verdict on a name, as net_kernel's (erl_dist_protocol, "Distribution Handshake", status). When both
// sides connect at the same time the one whose name sorts first gives way. Unlike there, a peer that connects again while it is being
// asked about an old connection is not refused, but asked again: it has begun anew, and a stranger who uses its name cannot keep it out.
func (n *Node) decide(name string, a *attempt) dist.Verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.name = name
	p := n.peerLocked(name)
	if p.conn == nil && p.outgoing != nil && n.name > name {
		return dist.Verdict{Status: dist.StatusNok}
	}
	if p.incoming != nil { // the peer has begun anew
		if p.incoming.order > a.order { // and this is what it has given up for it
			return dist.Verdict{Status: dist.StatusNotAllowed}
		}
		p.incoming.cancel(ErrSuperseded)
	}
	p.incoming, a.replaces = a, p.conn
	switch {
	case p.conn != nil && p.conn.Err() == nil:
		return dist.Verdict{Status: dist.StatusAlive}
	case p.conn == nil && p.outgoing != nil:
		p.outgoing.cancel(ErrSuperseded)
		return dist.Verdict{Status: dist.StatusOKSimultaneous}
	}
	return dist.Verdict{Status: dist.StatusOK}
}

// settled takes an attempt off the table.
func (n *Node) settled(a *attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[a.name]
	switch {
	case p == nil:
		return
	case p.incoming == a:
		p.incoming = nil
	case p.outgoing == a:
		p.outgoing = nil
	}
	n.changedLocked(a.name, p)
}

// forget drops a peer of which nothing is known.
func (n *Node) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[name]; p != nil {
		n.changedLocked(name, p)
	}
}

// enter puts a connection whose handshake is done on the table. replaces, if the peer has said that it is dead, is closed: its links
// and monitors break before the new connection can be used. ctx is the attempt's.
func (n *Node) enter(ctx context.Context, c *Conn, replaces *Conn) error {
	name := c.peer.Name
	for {
		if err := n.frozen.pass(ctx); err != nil {
			n.forget(name)
			return context.Cause(ctx)
		}
		n.mu.Lock()
		p := n.peerLocked(name)
		old := p.conn
		switch {
		case n.frozen.isShut(): // since a moment
			n.changedLocked(name, p)
			n.mu.Unlock()
			continue
		case ctx.Err() != nil: // superseded, perhaps: the peer has been told so
			n.changedLocked(name, p)
			n.mu.Unlock()
			return context.Cause(ctx)
		case n.ctx.Err() != nil:
			n.changedLocked(name, p)
			n.mu.Unlock()
			return n.Err()
		case old == nil:
			p.conn = c
			if !c.initiated {
				p.incoming = nil // this attempt, for another one would have superseded it
			}
			n.conns[c] = struct{}{}
			c.stake.up(name)
			n.changedLocked(name, p)
			n.mu.Unlock()
			return nil
		case old != replaces && old.Err() == nil:
			n.mu.Unlock()
			return ErrConnected
		}
		n.mu.Unlock()
		old.fail(ErrSuperseded)
		<-old.left
	}
}

// leave takes a connection off the table.
func (n *Node) leave(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	if p := n.peers[c.peer.Name]; p != nil && p.conn == c {
		p.conn = nil
		n.changedLocked(c.peer.Name, p)
	}
}

// Conn is the connection to a node that is up; nil without one.
func (n *Node) Conn(name string) *Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[name]; p != nil && p.conn != nil && p.conn.Err() == nil {
		return p.conn
	}
	return nil
}
