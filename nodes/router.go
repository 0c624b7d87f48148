package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
)

// A router is what a node that is one of several processes has to do with the others; a *part is
// one. That of a node which is one process is alone.
type router interface {
	// The connections to the other workers, and what passes over them.

	// workerLink is the connection to another worker; nil: there is none now.
	workerLink(worker int) *Conn
	// allWorkerLinks are those to all of them.
	allWorkerLinks() []*Conn
	// reach is workerLink, and waits for a connection while that worker lives; nil: it does not.
	reach(ctx context.Context, worker int) (*Conn, error)
	// reachFor is reach for what a peer has asked this node to send: it arrives as from that peer.
	reachFor(by *Conn, worker int) (*Conn, error)
	// across is the way to a process of this node, by its pid, or by a name that nobody here has; nil
	// if it is here, or nowhere.
	across(ctx context.Context, to ei.Pid, name ei.Atom) (*Conn, error)
	// divert passes a message on that is for another worker; false: it is for this one.
	divert(c *Conn, m *Message) bool
	// endRelayLinks and lose deal with the end of a connection: of the ways over it to other
	// workers, and of one to another worker. closePeerLink asks another worker to end the
	// connection of which c is a remote link.
	endRelayLinks(c *Conn)
	lose(c *Conn)
	closePeerLink(c *Conn)
	close()

	// What the front keeps for all workers: which of them has a peer, and which a name.

	// claim asks for the right to connect to a peer; take is the claim on a connection that has
	// come from another process.
	claim(ctx context.Context, peer string) (claim, error)
	take(peer string) claim
	// claimName enters a name that the process with that number is about to register, and releaseName
	// takes that back; true: others can have it once struck has returned.
	claimName(ctx context.Context, name ei.Atom, number uint64) (release func(), err error)
	releaseName(name ei.Atom) bool
	struck(name ei.Atom)
	// lookup finds the process that has a name, which nobody here has.
	lookup(ctx context.Context, name ei.Atom) (ei.Pid, error)
}

// A claim is a worker's share in a peer, as the front counts it: see claim.
type claim interface {
	up(peer string)
	over(ours bool)
}

// alone is the router of a node that is one process.
type alone struct{}

func (alone) workerLink(int) *Conn                                       { return nil }
func (alone) allWorkerLinks() []*Conn                                    { return nil }
func (alone) reach(context.Context, int) (*Conn, error)                  { return nil, nil }
func (alone) reachFor(*Conn, int) (*Conn, error)                         { return nil, ErrNoConnection }
func (alone) across(context.Context, ei.Pid, ei.Atom) (*Conn, error)     { return nil, nil }
func (alone) lookup(context.Context, ei.Atom) (ei.Pid, error)            { return ei.Pid{}, ErrNoProc }
func (alone) divert(*Conn, *Message) bool                                { return false }
func (alone) claim(context.Context, string) (claim, error)               { return unclaimed{}, nil }
func (alone) take(string) claim                                          { return unclaimed{} }
func (alone) claimName(context.Context, ei.Atom, uint64) (func(), error) { return func() {}, nil }
func (alone) releaseName(ei.Atom) bool                                   { return false }
func (alone) struck(ei.Atom)                                             {}
func (alone) endRelayLinks(*Conn)                                        {}
func (alone) lose(*Conn)                                                 {}
func (alone) closePeerLink(*Conn)                                        {}
func (alone) close()                                                     {}

// unclaimed is the claim of a node that nobody counts for.
type unclaimed struct{}

func (unclaimed) up(string) {}
func (unclaimed) over(bool) {}
