package nodes

import (
	"context"
	"maps"
	"slices"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A peer is what the node knows of one other node: at most one connection, and the attempts to get
// one. It is guarded by Node.mu.
type peer struct {
	conn     *Conn    // nil: none is on the table
	outgoing *attempt // our own attempt
	// those of the peer, and of strangers that use its name; nil if there are none
	incoming []*attempt
	change   wait.Bell
}

// An attempt is a handshake in progress.
type attempt struct {
	name   string // of the peer, once it is on the table
	order  uint64 // of those that peers have started: the order in which they came
	cancel context.CancelCauseFunc
	// a connection that the peer was asked about (status alive) or, if the attempt is ours, has
	// given up (ok_simultaneous)
	replaces *Conn
	// the peer has been told that our own attempt gives way to it (status ok_simultaneous)
	preferred bool
	proven    bool // the peer has proven that it knows the cookie
	// ours: the peer may have read our name, and given up its own attempt for it
	named     bool
	committed bool      // ours: the peer is about to get our proof
	claim     claim     // on the peer
	from      *Listener // whose Accept is to return the connection; nil: none is
}

// newAttempt is an attempt within ctx, and the context that its cancel ends.
func newAttempt(ctx context.Context) (context.Context, *attempt) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &attempt{cancel: cancel, claim: unclaimed{}}
}

// claim asks for the right to connect to a peer, for an attempt.
func (n *Node) claim(ctx context.Context, a *attempt, peer string) error {
	c, err := n.router.claim(ctx, peer)
	if err == nil {
		a.claim = c
	}
	return err
}

// peerLocked finds or makes the entry of a name.
func (n *Node) peerLocked(name string) *peer {
	p := n.peers[name]
	if p == nil {
		p = &peer{}
		n.peers[name] = p
	}
	return p
}

// changedLocked wakes those that wait for a change of the peer, and forgets a peer of which nothing
// is known.
func (n *Node) changedLocked(name string, p *peer) {
	p.change.Ring()
	if p.conn == nil && p.outgoing == nil && p.incoming == nil {
		delete(n.peers, name)
	}
}

// decide is the accepting side's verdict on a name, as net_kernel's (erl_dist_protocol,
// "Distribution Handshake", status). When both sides connect at the same time the one whose name
// sorts first gives way; its own attempt ends only once the peer has proven itself, since a
// stranger may use the peer's name: see proven. Unlike net_kernel, decide neither refuses nor
// prefers a peer that connects again while an attempt in its name is in progress: the peer has
// begun anew, or one of the two is a stranger. Which one counts is decided when it has proved that
// it knows the cookie; see enter.
func (n *Node) decide(name string, a *attempt) dist.Verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.name = name
	p := n.peerLocked(name)
	if p.conn == nil && p.outgoing != nil && n.name > name {
		return dist.Verdict{Status: dist.StatusNok}
	}
	p.incoming, a.replaces = append(p.incoming, a), p.conn
	switch {
	// a remote link: the front knows better, and sends the peer here
	case p.conn != nil && p.conn.remoteLink:
	case p.conn != nil && p.conn.Err() == nil:
		return dist.Verdict{Status: dist.StatusAlive}
	case p.conn == nil && p.outgoing != nil:
		a.preferred = true
		return dist.Verdict{Status: dist.StatusOKSimultaneous}
	}
	return dist.Verdict{Status: dist.StatusOK}
}

// proven decides between an attempt of the peer's, which has proven that it knows the cookie and is
// told so next, and our own. Ours ends, unless the peer may have accepted it already, since the
// peer gives way as soon as it reads our name. Shadows do not count: the peer does not know of
// them.
func (n *Node) proven(a *attempt) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[a.name]
	switch {
	case p == nil:
	case p.conn != nil && p.conn != a.replaces && p.conn.initiated && !p.conn.remoteLink && p.conn.Err() == nil:
		return ErrConnected
	case p.outgoing == nil:
	case p.outgoing.named && n.name > a.name:
		return ErrSuperseded
	default:
		p.outgoing.cancel(ErrSuperseded)
	}
	a.proven = true
	return nil
}

// givesName is called before the peer of our own attempt gets our name.
func (n *Node) givesName(a *attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.named = true
}

// comes tells whether the peer has proven itself in an attempt of its own, which is about to be a
// connection.
func (p *peer) comes() bool {
	return slices.ContainsFunc(p.incoming, func(a *attempt) bool { return a.proven })
}

// commit is called before the peer gets the proof of our own attempt, whose context is ctx: from
// then on the peer may accept the attempt.
func (n *Node) commit(ctx context.Context, a *attempt) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.committed = true
	return nil
}

// gaveWay tells whether our own attempt may have been refused for one of the peer's.
func (n *Node) gaveWay(a *attempt) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[a.name]
	return a.committed && p != nil && slices.ContainsFunc(p.incoming, func(a *attempt) bool { return a.preferred })
}

// dropAttempt takes an attempt off the table.
func (n *Node) dropAttempt(a *attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[a.name]
	switch {
	case p == nil:
		return
	case p.outgoing == a:
		p.outgoing = nil
	default:
		p.drop(a.order)
	}
	n.changedLocked(a.name, p)
}

// drop takes an attempt of the peer's off the table.
func (p *peer) drop(order uint64) {
	p.incoming = slices.DeleteFunc(p.incoming, func(a *attempt) bool { return a.order == order })
	if len(p.incoming) == 0 {
		p.incoming = nil
	}
}

// supersedes tells whether c, which the peer began later, takes the place of a connection or
// attempt of that arrival.
func (c *Conn) supersedes(arrival uint64) bool { return arrival != 0 && arrival < c.arrival }

// outdated tells whether a connection of another process, made at the moment made, takes this one's
// place. Two nodes have one connection to each other, so the peer has lost the earlier of two,
// though this process may not know yet. A connection that stands still is left alone: whoever has
// frozen it may be about to move it.
func (c *Conn) outdated(made int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.isSuspended() && c.made != 0 && c.made < made
}

// forget drops a peer of which nothing is known.
func (n *Node) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[name]; p != nil {
		n.changedLocked(name, p)
	}
}

// enter puts a connection whose handshake is done on the table. What the peer has given up for it
// ends: its earlier attempts, and a connection that came of one. So does the attempt's replaces, if
// the peer has said that it is dead. The links and monitors of the old connection break before the
// new one can be used. ctx is the attempt's.
func (n *Node) enter(ctx context.Context, c *Conn, a *attempt) error {
	name := c.peer.Name
	for {
		if err := n.life.Pass(ctx); err != nil {
			n.forget(name)
			return context.Cause(ctx)
		}
		n.mu.Lock()
		p := n.peerLocked(name)
		old := p.conn
		switch {
		case !n.life.IsOpen(): // just now
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
			p.drop(c.arrival)
			for _, a := range p.incoming {
				if c.supersedes(a.order) {
					a.cancel(ErrSuperseded)
				}
			}
			n.conns[c] = struct{}{}
			delete(n.away, name)
			c.claim.up(name)
			n.changedLocked(name, p)
			n.mu.Unlock()
			return nil
		case !c.takesThePlaceOf(old, a.replaces):
			n.mu.Unlock()
			return ErrConnected
		}
		n.mu.Unlock()
		old.fail(ErrSuperseded)
		select {
		case <-old.left:
		case <-ctx.Done():
			n.forget(name)
			return context.Cause(ctx)
		}
	}
}

// takesThePlaceOf tells whether old, which is on the table, ends for c, which is new. replaces is a
// connection that is known to be dead, or to have been given up.
func (c *Conn) takesThePlaceOf(old, replaces *Conn) bool {
	switch {
	case old == replaces:
	case old.Err() != nil: // it has ended, and is about to leave
	case c.supersedes(old.arrival):
	case c.adopted && old.outdated(c.made):
	// the peer has come here, away from the worker that had its connection
	case old.remoteLink && !c.remoteLink:
	default:
		return false
	}
	return true
}

// maxAway is how many peers a node, or a mailbox with MonitorNodes, remembers whose connection has
// moved to another process.
const maxAway = 1 << 16

// leave takes a connection off the table. away says that it has moved alone to another process: if
// this one connected to the peer on demand, the peer would give that connection up.
func (n *Node) leave(c *Conn, away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	if away {
		putFew(&n.away, c.peer.Name, struct{}{}, maxAway)
	}
	if p := n.peers[c.peer.Name]; p != nil && p.conn == c {
		p.conn = nil
		n.changedLocked(c.peer.Name, p)
	}
}

// isAwayLocked tells whether the connection to a node has moved alone to another process, and the
// node has had none with this process since.
func (n *Node) isAwayLocked(name string) bool {
	_, ok := n.away[name]
	return ok
}

// Conn is the connection to a node; nil if there is none that is up.
func (n *Node) Conn(name string) *Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[name]; p != nil && p.conn != nil && p.conn.Err() == nil {
		return p.conn
	}
	return nil
}

// Peers lists the names of the nodes that are connected.
func (n *Node) Peers() []string {
	conns := n.connections()
	names := make([]string, 0, len(conns))
	for _, c := range conns {
		names = append(names, c.peer.Name)
	}
	return names
}

func (n *Node) connections() []*Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.conns))
}
