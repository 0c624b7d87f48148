package peers

import (
	"context"
	"slices"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// An Attempt is a handshake in progress.
type Attempt struct {
	Peer   string // the peer's name; "" until it is known
	Order  uint64 // of those that peers have started: the order in which they came
	Cancel context.CancelCauseFunc
	// a connection that the peer was asked about (status alive) or, if the attempt is ours, has
	// given up (ok_simultaneous)
	Replaces Conn

	// guarded by the table
	stage Stage // ours
	// theirs: the peer has been told that our own attempt gives way to it (status ok_simultaneous)
	preferred bool
	proven    bool // theirs: the peer has proven that it knows the cookie
}

// A Stage is how far an attempt of our own has come.
type Stage int

const (
	None      Stage = iota // there is no attempt
	Begun                  // the peer knows of none
	Named                  // the peer may have read our name, and given up its own attempt for it
	Committed              // the peer is about to get our proof, and to accept the attempt
)

// Begin puts an attempt of our own on the table, unless there is a connection, or an attempt that
// may become one. beside: one in which the peer has not proven itself does not count.
func (t *Table) Begin(a *Attempt, beside bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peer(a.Peer)
	if p.Conn != nil || p.outgoing != nil || p.comes() || p.incoming != nil && !beside {
		return false
	}
	p.outgoing, a.stage = a, Begun
	return true
}

// Meet puts an attempt of our own on the table whose peer has just said its name: ErrConnected if
// there is a connection, or another attempt of ours.
func (t *Table) Meet(name string, a *Attempt) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peer(name)
	if p.isUp() || p.outgoing != nil && p.outgoing != a {
		return ErrConnected
	}
	a.Peer, p.outgoing = name, a
	return nil
}

// Decide is the accepting side's verdict on a name, as net_kernel's (erl_dist_protocol,
// "Distribution Handshake", status); self is our own. When both sides connect at the same time the
// one whose name sorts first gives way; its own attempt ends only once the peer has proven itself,
// since a stranger may use the peer's name: see Proven. Unlike net_kernel, Decide neither refuses
// nor prefers a peer that connects again while an attempt in its name is in progress: the peer has
// begun anew, or one of the two is a stranger. Which one counts is decided when it has proved that
// it knows the cookie; see Enter.
func (t *Table) Decide(self, name string, a *Attempt) dist.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.Peer = name
	p := t.peer(name)
	simultaneous := p.Conn == nil && p.outgoing != nil
	if simultaneous && self > name {
		return protocol.StatusNok
	}
	p.incoming, a.Replaces, a.preferred = append(p.incoming, a), p.Conn, simultaneous
	switch {
	case simultaneous:
		return protocol.StatusOKSimultaneous
	// if it is remote the front knows better, and sends the peer here
	case p.isUp() && !p.Remote:
		return protocol.StatusAlive
	}
	return protocol.StatusOK
}

// Proven decides between an attempt of the peer's, which has proven that it knows the cookie and is
// told so next, and our own. Ours ends, unless the peer may have accepted it already, since the
// peer gives way as soon as it reads our name. Remote links do not count: the peer does not know of
// them.
func (t *Table) Proven(self string, a *Attempt) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[a.Peer]
	switch {
	case p == nil:
	case p.isUp() && p.Conn != a.Replaces && p.Initiated && !p.Remote:
		return ErrConnected
	case p.outgoing == nil:
	case p.outgoing.stage >= Named && self > a.Peer:
		return ErrSuperseded
	default:
		p.outgoing.Cancel(ErrSuperseded)
	}
	a.proven = true
	return nil
}

// comes tells whether the peer has proven itself in an attempt of its own, which is about to be a
// connection.
func (p *peer) comes() bool {
	return slices.ContainsFunc(p.incoming, func(a *Attempt) bool { return a.proven })
}

// GiveName is called before the peer of our own attempt gets our name.
func (t *Table) GiveName(a *Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.stage = max(a.stage, Named)
}

// Commit is called before the peer gets the proof of our own attempt, whose context is ctx: from
// then on the peer may accept the attempt.
func (t *Table) Commit(ctx context.Context, a *Attempt) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.stage = Committed
	return nil
}

// GaveWay tells whether our own attempt may have been refused for one of the peer's.
func (t *Table) GaveWay(a *Attempt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[a.Peer]
	return a.stage == Committed && p != nil && slices.ContainsFunc(p.incoming, func(a *Attempt) bool { return a.preferred })
}

// Drop takes an attempt off the table.
func (t *Table) Drop(a *Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[a.Peer]
	switch {
	case p == nil:
		return
	case p.outgoing == a:
		p.outgoing = nil
	default:
		p.drop(a.Order)
	}
	t.changed(a.Peer, p)
}

// drop takes an attempt of the peer's off the table.
func (p *peer) drop(order uint64) {
	p.incoming = slices.DeleteFunc(p.incoming, func(a *Attempt) bool { return a.Order == order })
	if len(p.incoming) == 0 {
		p.incoming = nil
	}
}
