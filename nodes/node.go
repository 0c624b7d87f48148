package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/permit"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/carriers"
	"github.com/cnode-go/cnode/nodes/internal/cookie"
	"github.com/cnode-go/cnode/nodes/internal/handshake"
	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/roster"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// A Node is a C-node: a member of an Erlang cluster. Its methods are safe for concurrent use. Close
// ends everything that belongs to it.
type Node struct {
	env
	end context.CancelCauseFunc

	followed, alone context.Context // the same: see sendResult

	pool      wait.Pool // of those that run functions
	strangers strangers
	refused   hush.Hush // handshakes that have failed
	faults    faults
	waits     hush.Hush // connections that wait for a free descriptor

	withoutGlobal atomic.Bool // the log has it: see maybeWithoutGlobal

	mu       sync.Mutex // guards this group, and cfg.Cookie and cfg.Cookies
	name     string     // "" until a dynamic node has connected
	creation uint32
	used     bool // identifiers or connections carry the creation
	// creation changes no more: it is the Config's, was published, was given by a peer, or comes
	// from another process
	settled    bool
	publishing publishing
	listeners  map[*Listener]struct{}
	instance   uint64 // random: it tells apart the Nodes of one name

	freezeTime time.Duration // freezeBudget, unless a test is of something else
	shakeTime  time.Duration // shakeGrace, likewise

	peers    peers.Table
	arrivals atomic.Uint64 // connections accepted, ever
	opened   atomic.Uint64 // listeners, ever

	meters   meters
	requests *places.Memory // what requests of peers take that wait or run
	overflow *places.Memory // what messages of peers take for which their mailboxes have no room

	ids     ids.Source
	procs   processes
	watches roster.Watches[reported]
	funcs   functions
	kernel  kernel
	router  router // set before the node is used; alone: the node is one process
	rights  rights
	isFront bool

	carriers    carriers.Set
	openings    handshake.Openings
	handshakes  handshakes
	failedStart atomic.Pointer[error] // why Start has failed; nil: it has not
	shaking     wait.Tally            // handshakes in progress that peers have started
	drain       drain
	inherited   atomic.Pointer[[]byte] // see Inherited
	given       atomic.Pointer[string] // a dynamic node's name, for its log: see withName
}

// New checks cfg and makes a node of it. Nothing is opened yet. The error says what is wrong with
// cfg: a name (dist.ErrInvalidName), flags, a cookie file that cannot be read.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, wrap("new node", "", err)
	}
	rules, err := compileRules(cfg.Rules)
	if err != nil {
		return nil, wrap("new node", "", err)
	}
	n := &Node{
		env: env{cfg: cfg}, name: cfg.Name, router: alone{},
		creation:  rand.Uint32()>>2 + 4, // 1..3 belong to clients with 16-bit creations
		listeners: map[*Listener]struct{}{}, freezeTime: freezeBudget, shakeTime: shakeGrace,
	}
	n.log = hush.Named(cfg.Logger, n.name, &n.given)
	if cfg.Creation != 0 {
		n.creation, n.settled = cfg.Creation, true
	}
	if dir := socketDirOf(cfg.Resolver); dir != nil {
		n.cfg.Resolver = socketsOf{dir, n}
	}
	cookie.Judge(cfg.Cookie, n.log)
	n.ctx, n.end = context.WithCancelCause(context.Background())
	n.followed, n.alone = link.Followed(n.ctx, true), link.Followed(n.ctx, false)
	n.initParts(rules)
	n.ids.Init(cfg.Worker)
	n.instance = rand.Uint64()
	n.requests = places.NewMemory(cfg.OverflowLimit, places.DefaultMemory)
	n.overflow = places.NewMemory(cfg.OverflowLimit, places.DefaultMemory)
	n.initLinks()
	return n, nil
}

// initParts gives the node's parts what they know of it.
func (n *Node) initParts(rules permit.Table) {
	n.faults.log, n.rights.rules = n.log, rules
	n.carriers.Init(append([]transport.Transport{n.cfg.Transport}, n.cfg.Transports...)...)
	n.rights.n, n.meters.n, n.handshakes.n, n.publishing.n = n, n, n, n
	n.funcs.n, n.kernel.n, n.strangers.n = n, n, n
	n.openings.Most, n.openings.Limit, n.openings.Late = n.cfg.MaxHandshakes, n.cfg.HandshakeTimeout, ErrHandshakeTimeout
	n.drain.init(n)
	n.procs.init(n)
}

// initLinks gives the node's connections what they know of it.
func (n *Node) initLinks() {
	l := &n.links
	l.Log, l.Ctx, l.MaxFrame, l.QueueLimit, l.TickInterval = n.log, n.ctx, n.cfg.MaxFrame, n.cfg.QueueLimit, n.cfg.TickInterval
	l.Published, l.SendWhole, l.Encode = n.cfg.Flags.Has(dist.FlagPublished), n.cfg.SendWhole, n.encode()
	l.Goroutines, l.Malformed = &n.goroutines, &n.stats.malformed
	l.Incomplete = places.NewMemory(n.cfg.OverflowLimit, places.Quarter) // where it ends connections
	l.Init()
}

// Close ends the node at once: the registration at the port mapper, mailboxes (with reason
// shutdown), listeners and connections. What waits to be sent is lost; Shutdown sends it. It
// returns when all of the node's goroutines have ended, except those in callbacks that do not
// return within a second. This exception also applies to a Func, a Handler or a Server's function
// that calls Close, unless it does so on a goroutine of its own. Close waits while the node is
// frozen.
func (n *Node) Close() error {
	_ = n.lockUnfrozen(context.Background())
	n.endUnlock(ErrClosed) // from here on nothing is added to what is closed below
	err := n.Unpublish(context.Background())
	n.endProcesses()
	n.mu.Lock()
	var closers []func() error
	for l := range n.listeners {
		closers = append(closers, l.Close)
	}
	n.mu.Unlock()
	for _, c := range n.connections() {
		closers = append(closers, c.Close)
	}
	if len(closers) == 1 { // another goroutine would wake a thread
		err = errors.Join(err, closers[0]())
	} else { // concurrently: a plug-in may take a second
		errs := make(chan error, len(closers))
		for _, f := range closers {
			go func() { errs <- f() }()
		}
		for range closers {
			err = errors.Join(err, <-errs)
		}
	}
	n.router.Close()
	n.awaitGoroutines()
	return err
}

// endUnlock ends the node's context, and what goes with it; n.mu is held on entry, and released on
// return.
func (n *Node) endUnlock(why error) {
	n.end(why)
	n.mu.Unlock()
	n.drain.reach(StateClosed)
	n.pool.Close()
}

// awaitGoroutines waits for the goroutines of the node, but not long: one that is in a callback may
// not come back.
func (n *Node) awaitGoroutines() {
	n.openings.NoMore()
	if n.goroutines.None() { // the usual case: setting a timer would wake a thread
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = n.goroutines.Wait(ctx)
}

// endProcesses ends the mailboxes while there are connections to tell other nodes over. It does not
// wait long for a plug-in that does not come back.
func (n *Node) endProcesses() {
	if n.procs.closeEmpty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	told := make(chan struct{})
	go func() { n.procs.awaitTold(ctx, n.procs.endAll(ctx)); close(told) }()
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// farewell is how long a node that closes waits for what should take no time.
const farewell = time.Second

// counters are what Stats reports of the whole node.
type counters struct {
	connections      atomic.Int64
	handshakesFailed atomic.Int64
	malformed        atomic.Int64
	undeliverable    atomic.Int64
	callsRefused     atomic.Int64
	mailboxesFull    atomic.Int64
	denied           atomic.Int64
	calls            meter.Table // of functions and Servers, while somebody measures
}

func (c *counters) all() [7]*atomic.Int64 {
	return [...]*atomic.Int64{
		&c.connections, &c.handshakesFailed, &c.malformed, &c.undeliverable, &c.callsRefused, &c.mailboxesFull, &c.denied,
	}
}

// Stats is a snapshot of a node's counters.
type Stats struct {
	Connections      int64 // ever up
	HandshakesFailed int64 // started by peers
	// frames and control messages that ended their connection, and skipped signals in the name of a
	// third node
	Malformed int64
	// messages to processes, names or aliases that do not exist, or take none; they are dropped, as
	// in a BEAM
	Undeliverable int64
	// processes: net_kernel and rex, those of calls in progress and of spawned functions, included
	Mailboxes int
	// functions that run for callers of other nodes, or of this one: places of Config.MaxCalls
	Calls        int
	CallsWaiting int // those that wait for a place
	// requests of peers that were refused (system_limit), since they had their share of
	// Config.OverflowLimit
	CallsRefused int64
	Denied       int64 // what Config.Rules have refused
	// bytes of messages in mailboxes beyond MailboxOptions.Limit: see Config.OverflowLimit
	Overflow      int
	MailboxesFull int64 // mailboxes that have ended with reason mailbox_full
	// under its name: until Unpublish, the node's end, or that of the listener. A worker is while its
	// Front is
	Published bool
	Peers     []PeerStats // one per connection, in no particular order
	// what registered processes of the program have not received, by name; beyond some hundreds of
	// names those that were registered first. In a worker (see Front) they are that worker's
	Queues []metrics.Queue
	// calls of functions and Servers, served and made, since Measure was first called; beyond some
	// hundreds of functions the rest counts as one
	Functions []metrics.CallStats
}

// PeerStats is a snapshot of one connection's counters.
type PeerStats struct {
	Name             string // of the other node
	MessagesReceived int64  // signals included
	// signals that the node sends by itself, such as those of links, not included
	MessagesSent  int64
	BytesReceived int64 // of frames, ticks included
	BytesSent     int64 // given to the transport
	BytesQueued   int   // waiting, or being written
}

// Logger is where the node logs: Config.Logger with the attribute node, its name, or one that drops
// everything. Packages that add to a node log there, too, and have the attribute from it.
func (n *Node) Logger() *slog.Logger { return n.log }

// Stats takes a snapshot.
func (n *Node) Stats() Stats {
	s := Stats{
		Connections:      n.stats.connections.Load(),
		HandshakesFailed: n.stats.handshakesFailed.Load(),
		Malformed:        n.stats.malformed.Load(),
		Undeliverable:    n.stats.undeliverable.Load(),
		CallsRefused:     n.stats.callsRefused.Load(),
		Denied:           n.stats.denied.Load(),
		Overflow:         n.overflow.Held(),
		MailboxesFull:    n.stats.mailboxesFull.Load(),
		Mailboxes:        n.procs.count(),
		Functions:        n.stats.calls.Stats(),
		Queues:           n.procs.queues(),
	}
	s.Calls, s.CallsWaiting = n.procs.places.Counts()
	s.Published = n.publishing.isPublished() || n.router.IsPublished() && n.Err() == nil
	for _, c := range n.connections() {
		t := c.l.Traffic()
		s.Peers = append(s.Peers, PeerStats{
			Name:             c.Name(),
			MessagesReceived: t.MessagesReceived, MessagesSent: t.MessagesSent,
			BytesReceived: t.BytesReceived, BytesSent: t.BytesSent, BytesQueued: t.BytesQueued,
		})
	}
	return s
}

// ErrStarted is returned by a second Start of a node or of something staged; also by Start after
// Discard.
var ErrStarted = errors.New("started already, or discarded")

// Start makes the node a member of the cluster that works by itself: it listens on Config.Listen
// and Config.Also, is published, accepts, answers net_adm:ping and remote calls, and gives messages
// to mailboxes and servers; sending to a node connects to it if need be. Conn.Receive must no
// longer be used. ctx bounds only the start; Close and Shutdown end the node. A Start that fails
// closes the node, whose name may be known already: to try again make another one with New. If a
// listener breaks, the node keeps its connections: Listener.Done tells. A dynamic node does not
// listen: connect it first, then start it. While a freeze is in progress Start waits until ctx
// ends; if another process goes on as the node the error is ErrMoved.
//
// Of Erlang's own processes there are net_kernel and rex, and of its functions those that a remote
// call or spawn needs; every other function is undef to a peer until it is exposed,
// erlang:whereis/1 as well: peers reach a process by {Name, Node}.
func (n *Node) Start(ctx context.Context) error {
	if err := n.life.Start(ctx); err != nil {
		return wrap("start", n.Name(), err)
	}
	defer n.life.EndStart()
	if err := n.Err(); err != nil {
		if failed := n.failedStart.Load(); failed != nil {
			err = fmt.Errorf("%w: an earlier Start has failed (%w), which closes the node; make another one with New", err, *failed)
		}
		return wrap("start", n.Name(), err)
	}
	if !n.started.CompareAndSwap(false, true) {
		return wrap("start", n.Name(), ErrStarted)
	}
	if err := n.join(ctx); err != nil {
		err = errors.Join(err, n.Close())
		n.failedStart.Store(&err)
		return err
	}
	n.drain.reach(StateRunning)
	return nil
}

func (n *Node) join(ctx context.Context) error {
	var listeners []*Listener
	if n.cfg.Name != "" {
		var err error
		if listeners, err = n.listen(ctx); err != nil {
			return err
		}
		if err := n.Publish(ctx, listeners[0]); err != nil {
			return err
		}
	}
	if n.Name() == "" {
		return wrap("start", "", ErrUnnamed)
	}
	if err := n.setup(); err != nil {
		return err
	}
	for _, l := range listeners {
		l.serve()
	}
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	for _, c := range n.connections() {
		n.attach(c)
	}
	return nil
}

// listen opens the listeners of Config.Listen, which is the first, and Config.Also.
func (n *Node) listen(ctx context.Context) ([]*Listener, error) {
	l, err := n.Listen(ctx, n.listenAddr())
	if err != nil {
		if n.cfg.Listen == nil && errors.Is(err, syscall.EAFNOSUPPORT) {
			err = fmt.Errorf("Config.Listen is not set, and Config.Transport is for other addresses: %w", err)
		}
		return nil, err
	}
	listeners := []*Listener{l}
	for _, at := range n.cfg.Also {
		if l, err = n.ListenOn(ctx, at.Transport, at.Addr); err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// serve accepts until the listener ends. The upper level serves the connections.
func (l *Listener) serve() {
	l.serveAlone()
	l.begin()
}

// setup makes what peers may ask for as soon as they are connected.
func (n *Node) setup() error {
	if err := n.kernel.serve(); err != nil || n.cfg.Setup == nil {
		return err
	}
	return wrap("Config.Setup of", n.Name(), n.cfg.Setup(n))
}

// listenAddr is Config.Listen, or a free port of the loopback interface.
func (n *Node) listenAddr() transport.Addr {
	if n.cfg.Listen != nil {
		return n.cfg.Listen
	}
	return transport.FromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
}

// Listeners lists the node's open listeners, in the order in which they were opened. One that has
// broken (Listener.Done) is among them until its Close.
func (n *Node) Listeners() []*Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Keys(n.listeners), func(a, b *Listener) int { return cmp.Compare(a.number, b.number) })
}
