package peers

import (
	"errors"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// Errors of an attempt, or a connection, that does not count.
var (
	ErrConnected  = errors.New("already connected to this node")
	ErrSuperseded = errors.New("superseded by another connection of the same peer")
)

// A Conn is a connection, as far as the table needs to know it. Its methods are called with the
// table locked. nil is none.
type Conn interface {
	Err() error            // why it has ended; nil: it is up
	Left() <-chan struct{} // closed when its end has been dealt with, and it has left the table
	// IsOutdated tells whether a connection made in another process, at that moment, takes its place.
	IsOutdated(made int64) bool
	// OnEntered hears that it is on the table.
	OnEntered()
}

// An Entry is a connection, and how it came to be.
type Entry struct {
	Conn      Conn
	Peer      string // its name
	Order     uint64 // of the peer's attempt that has made the connection; 0: it was made otherwise
	Initiated bool   // from this side
	Remote    bool   // it leads to another worker, which has the connection to the peer
	Moved     int64  // the moment at which another process made it; 0: this one did, or unknown
}

// MaxAway is how many peers are remembered whose connection has moved to another process, or that
// have closed it.
const MaxAway = 1 << 16

// An Absence is why there is no connection to a peer any more.
type Absence int

const (
	// Ended is every reason that does not matter later.
	Ended Absence = iota
	// Away is one that has moved alone to another process: if this one connected to the peer on
	// demand, the peer would give that connection up.
	Away
	// Closed is one of which the peer knows that it has ended: if it has another one with this name
	// later, that is another program's.
	Closed
)

// A Table is ready when it is the zero value. Its methods are safe for concurrent use.
type Table struct {
	mu    sync.Mutex
	peers map[string]*peer
	gone  map[string]Absence // by peer; not those that have ended
}

// A peer is what the node knows of one other node: at most one connection, and the attempts to get
// one.
type peer struct {
	Entry             // without a Conn: none is on the table
	outgoing *Attempt // our own attempt
	// those of the peer, and of strangers that use its name; nil if there are none
	incoming []*Attempt
	change   wait.Bell
}

// peer finds or makes the entry of a name; the table is locked.
func (t *Table) peer(name string) *peer {
	p := t.peers[name]
	if p == nil {
		p = &peer{}
		if t.peers == nil {
			t.peers = map[string]*peer{}
		}
		t.peers[name] = p
	}
	return p
}

// changed wakes those that wait for a change of the peer, and forgets a peer of which nothing is
// known; the table is locked.
func (t *Table) changed(name string, p *peer) {
	p.change.Ring()
	if p.isIdle() {
		delete(t.peers, name)
	}
}

// isIdle tells whether nothing is known of the peer.
func (p *peer) isIdle() bool { return p.Conn == nil && p.outgoing == nil && p.incoming == nil }

// isUp tells whether there is a connection that has not ended.
func (p *peer) isUp() bool { return p.Conn != nil && p.Conn.Err() == nil }

// Known is what a look at the table shows of a peer.
type Known struct {
	Conn   Conn            // nil: none. It may have ended, and be about to leave
	Away   bool            // there is none, for it has moved alone to another process
	Ours   Stage           // of our own attempt
	Theirs bool            // there are attempts of the peer's, or of strangers that use its name
	Comes  bool            // the peer has proven itself in one of them, which is about to be a connection
	Change <-chan struct{} // closed when any of this has changed
}

// Look shows what is known of a peer. Whoever has looked calls Forget in the end.
func (t *Table) Look(name string) Known {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peer(name)
	k := Known{Conn: p.Conn, Theirs: p.incoming != nil, Comes: p.comes(), Change: p.change.Next()}
	k.Away = t.gone[name] == Away
	if p.outgoing != nil {
		k.Ours = p.outgoing.stage
	}
	return k
}

// Forget drops a peer of which nothing is known.
func (t *Table) Forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[name]; p != nil && p.isIdle() {
		t.changed(name, p)
	}
}

// Size is the number of peers of which something is known.
func (t *Table) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.peers)
}

// Absent tells why the last connection to a peer is no more, until there is another one.
func (t *Table) Absent(name string) Absence {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone[name]
}

// Has tells whether anything is known of a peer.
func (t *Table) Has(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[name] != nil
}

// Conn is the connection to a peer; nil if there is none that is up.
func (t *Table) Conn(name string) Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[name]; p != nil && p.isUp() {
		return p.Conn
	}
	return nil
}

// Conns lists the connections; some may have ended.
func (t *Table) Conns() []Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Conn, 0, len(t.peers))
	for _, p := range t.peers {
		if p.Conn != nil {
			all = append(all, p.Conn)
		}
	}
	return all
}

// Enter puts a connection whose handshake is done on the table, if open, which is called with the
// table locked, says nil. What the peer has given up for it ends: its earlier attempts, and a
// connection that came of one, or is replaces. This is old, which the caller ends before it calls
// Enter again.
func (t *Table) Enter(e Entry, replaces Conn, open func() error) (old Conn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := open(); err != nil {
		return nil, err
	}
	if p := t.peers[e.Peer]; p != nil && p.Conn != nil {
		if !e.takesThePlaceOf(p.Entry, replaces) {
			return nil, ErrConnected
		}
		return p.Conn, nil
	}
	p := t.peer(e.Peer)
	p.Entry = e
	p.drop(e.Order)
	for _, a := range p.incoming {
		if e.supersedes(a.Order) {
			a.Cancel(ErrSuperseded)
		}
	}
	delete(t.gone, e.Peer)
	e.Conn.OnEntered()
	t.changed(e.Peer, p)
	return nil, nil
}

// Put puts a connection of a node that another process has frozen on the table of the node that
// goes on as that one.
func (t *Table) Put(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peer(e.Peer).Entry = e
}

// takesThePlaceOf tells whether old, which is on the table, ends for e, which is new. replaces is a
// connection that is known to be dead, or to have been given up.
func (e Entry) takesThePlaceOf(old Entry, replaces Conn) bool {
	return old.Conn == replaces ||
		old.Conn.Err() != nil || // it has ended, and is about to leave
		e.supersedes(old.Order) ||
		old.Conn.IsOutdated(e.Moved) ||
		// the peer has come here, away from the worker that had its connection
		old.Remote && !e.Remote
}

// supersedes tells whether e, which the peer began later, takes the place of a connection or an
// attempt of that order.
func (e Entry) supersedes(order uint64) bool { return order != 0 && order < e.Order }

// Leave takes a connection off the table.
func (t *Table) Leave(name string, c Conn, why Absence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if why != Ended {
		lazymap.PutFew(&t.gone, name, why, MaxAway)
	}
	if p := t.peers[name]; p != nil && p.Conn == c {
		p.Entry = Entry{}
		t.changed(name, p)
	}
}
