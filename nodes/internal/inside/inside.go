// Package inside is what packages nodes and workers have to do with each other: a node that is one
// of several processes is of package nodes, like any other, and what makes it one of several is of
// package workers. C is a *nodes.Conn, and M a *nodes.Message.
package inside

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A Key opens the inside of a node, for packages of this module: see Node.Inside.
type Key struct{}

// A Router is what a node that is one of several processes has to do with the others.
type Router[C, M any] interface {
	// The connections to the other workers, and what passes over them.

	// WorkerLink is the connection to another worker; nil: there is none now.
	WorkerLink(worker int) C
	// AllWorkerLinks are those to all of them.
	AllWorkerLinks() []C
	// Reach is WorkerLink, and waits for a connection while that worker lives; nil: it does not.
	Reach(ctx context.Context, worker int) (C, error)
	// ReachFor is Reach for what a peer has asked this node to send: it arrives as from that peer.
	ReachFor(by C, worker int) (C, error)
	// Across is the way to a process of this node, by its pid, or by a name that nobody here has; nil
	// if it is here, or nowhere.
	Across(ctx context.Context, to ei.Pid, name ei.Atom) (C, error)
	// Divert passes a message on that is for another worker; false: it is for this one.
	Divert(c C, m M) bool
	// EndRelayLinks and Lose deal with the end of a connection: of the ways over it to other workers,
	// and of one to another worker. ClosePeerLink asks another worker to end the connection of which c
	// is a remote link.
	EndRelayLinks(c C)
	Lose(c C)
	ClosePeerLink(c C)
	Close()

	// What the front keeps for all workers: which of them has a peer, and which a name, and whether
	// the node is published.

	// Claim asks for the right to connect to a peer; Take is the claim on a connection that has come
	// from another process.
	Claim(ctx context.Context, peer string) (Claim, error)
	Take(peer string) Claim
	// ClaimName enters a name that the process with that number is about to register, and ReleaseName
	// takes that back; true: others can have it once Struck has returned.
	ClaimName(ctx context.Context, name ei.Atom, number uint64) (release func(), err error)
	ReleaseName(name ei.Atom) bool
	Struck(name ei.Atom)
	// Lookup finds the process that has a name, which nobody here has.
	Lookup(ctx context.Context, name ei.Atom) (ei.Pid, error)
	IsPublished() bool

	// A freeze, and what comes from another process.

	// PauseWork stops the worker from taking remote links; resume ends that, and PauseLine.
	PauseWork(ctx context.Context) (resume func(), err error)
	// PauseLine stops the reader of the line to the front. Before that it has stop stop the readers of
	// the connections to other workers, for one of them may be waiting for an answer of the front. The
	// readers of conns have stopped, so no new connection to another worker begins here; the front may
	// still bring one.
	PauseLine(ctx context.Context, conns []C, stop func([]C) error) error
	// HoldLine stops what is said to the front.
	HoldLine(ctx context.Context) (resume func(), err error)
	// PutWorkerLink takes a connection to another worker that has come from another process.
	PutWorkerLink(c C)
}

// A Claim is a worker's share in a peer, as the front counts it.
type Claim interface {
	// Up says that the connection to the peer is up; from now on the claim is the connection's.
	Up(peer string)
	// Over says that the session, attempt or connection has ended; ours: by this side.
	Over(ours bool)
	// State is the peer's name, as the front knows it; false: the front does not count it.
	State() (peer string, ok bool)
}

// Unclaimed is the claim of a node that nobody counts for.
type Unclaimed struct{}

// Up does nothing.
func (Unclaimed) Up(string) {}

// Over does nothing.
func (Unclaimed) Over(bool) {}

// State is none.
func (Unclaimed) State() (string, bool) { return "", false }

// A Kind says what a connection is the way to. The workers of a node are linked by connections of
// their own, over which they speak the distribution protocol like nodes do, so that order,
// back-pressure, links and monitors are those of any connection.
//
//	a worker link   joins two workers: what processes of the node say to each other
//	a relay link    joins a worker that has the connection to a peer, the peer link, with a
//	                worker that has not: what the peer has for processes of the latter, and
//	                what they say. The latter's end is its remote link: there it is the
//	                connection to that peer.
//
// A remote link ends with the connection, and a relay link with the other worker.
type Kind int

// One of these, or Direct: to a peer.
const (
	Direct Kind = iota
	RemoteLink
	WorkerLink
	RelayLink
)

// Ties are what a connection has to do with the other workers of its node.
type Ties[C any] struct {
	// worker link, relay link: the worker at the other end; 0: another node is at the other end
	Worker     int
	IsRemote   bool // remote link: another worker has the connection to the peer
	PeerLink   C    // relay link: the connection to the peer that it belongs to
	Relaying   sync.Mutex
	RelayLinks map[int]C // by worker
	Relayed    Bonds     // relay link
	Claim      Claim     // on the peer; set before the connection is on the table
}

// PutRelayLink enters a relay link of the connection.
func (t *Ties[C]) PutRelayLink(worker int, c C) {
	t.Relaying.Lock()
	defer t.Relaying.Unlock()
	lazymap.Put(&t.RelayLinks, worker, c)
}

// Describe puts the ties into the state of a frozen connection.
func (t *Ties[C]) Describe(s *states.Conn) {
	s.Worker, s.Shadow = t.Worker, t.IsRemote
	for l := range t.Relayed.Links {
		s.Links = append(s.Links, states.Crossing{Remote: l.Remote, Local: l.Local})
	}
	for ref, m := range t.Relayed.Monitors {
		s.Monitors = append(s.Monitors, states.CrossMonitor{Ref: ref, Watcher: m.Watcher, Pid: m.Pid, Name: m.Name})
	}
	if peer, ok := t.Claim.State(); ok {
		s.Staked, s.Stake = true, peer
	}
}

// Restore takes them from the state, but for the peer link.
func (t *Ties[C]) Restore(s *states.Conn, take func(peer string) Claim) {
	t.Worker, t.IsRemote = s.Worker, s.Shadow
	for _, l := range s.Links {
		t.Relayed.Link(Link{l.Remote, l.Local})
	}
	for _, m := range s.Monitors {
		t.Relayed.Watch(m.Ref, Monitor{m.Watcher, m.Pid, m.Name})
	}
	if s.Staked {
		t.Claim = take(s.Stake)
	}
}

// Bonds are what a relay link remembers; guarded by the peer link's Relaying. Links and monitors
// between processes of a peer and those of another worker pass through a relay link. The worker
// that has the connection remembers them, so that when the other worker dies it can tell the peer
// of the end of each process that the peer's processes had a link with or a monitor on.
type Bonds struct {
	Links    map[Link]struct{}
	Monitors map[ei.Ref]Monitor
}

// A Link is one between a process of the peer and one of the other worker.
type Link struct{ Remote, Local ei.Pid }

// A Monitor is one that a process of the peer has on one of the other worker, by its pid or its
// name.
type Monitor struct {
	Watcher ei.Pid
	Pid     ei.Pid
	Name    ei.Atom
}

// Link notes a link.
func (s *Bonds) Link(l Link) { lazymap.Put(&s.Links, l, struct{}{}) }

// Watch notes a monitor.
func (s *Bonds) Watch(ref ei.Ref, m Monitor) { lazymap.Put(&s.Monitors, ref, m) }

// An Env is what a node has that its worker or front uses as it is.
type Env struct {
	Log           *slog.Logger
	Ctx           context.Context // ends when the node closes
	Life          *life.Life
	Table         *peers.Table
	Started       *atomic.Bool
	Undeliverable *atomic.Int64
	Arrivals      *atomic.Uint64 // connections accepted, ever
	FreezeTime    time.Duration
}

// An Opening is a handshake that a peer has begun, of which the front reads the first word.
type Opening struct {
	Ctx       context.Context
	Transport transport.Transport
	Stream    *transport.Stream
	Heard     func() // is to be called when the peer has said something
}

// DrainTimeout is nodes.Config.DrainTimeout, if that is not set.
const DrainTimeout = 5 * time.Second

// Variable is the environment variable by which a front tells a process that it is a worker, and
// where its sockets are: the numbers of two descriptors, "LINE,SESSIONS". The first carries what
// front and worker say to each other, the second carries sessions in the format of
// bind10.Forwarder. A process that is to take a worker's place finds one descriptor there,
// "upgrade,CHANNEL".
const Variable = "CNODE_WORKER"

// IsWorker tells whether a front has started this process as one of its workers.
func IsWorker() bool {
	v := os.Getenv(Variable)
	return v != "" && (!strings.HasPrefix(v, TakenMark) || v == Taken())
}

// LinkVariable is the environment variable for children (package child): the folder of the sockets
// of a node whose only peer is the BEAM that has started it.
const LinkVariable = "CNODE_LINK"

// TakenMark begins the Variable of a worker that has taken its sockets: the numbers may stand for
// anything by now. The id of the process follows, since other processes inherit the variable.
const TakenMark = "taken by "

// Taken is the Variable of such a process.
func Taken() string { return TakenMark + strconv.Itoa(os.Getpid()) }
