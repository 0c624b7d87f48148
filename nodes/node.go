package nodes

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A Node is a C-node: a member of an Erlang cluster. Its methods are safe for concurrent use. Close ends everything that belongs to it.
type Node struct {
	cfg Config
	log *slog.Logger
	ctx context.Context // ends when the node closes
	end context.CancelCauseFunc

	goroutines wait.Tally // those that Close waits for
	strangers  strangers
	refused    hush.Hush // handshakes that have failed
	mishaps    hush.Hush // errors in functions of the application
	noTerms    hush.Each // results of functions and servers that are no terms
	waits      hush.Hush // connections that wait for a free descriptor

	mu        sync.Mutex // guards this group, and cfg.Cookie and cfg.Cookies
	name      string     // "" until a dynamic node has connected
	creation  uint32
	used      bool // identifiers or connections carry the creation
	settled   bool // creation changes no more: it is the Config's, was published, was given by a peer, or comes from another process
	published Publication
	peers     map[string]*peer
	away      map[string]struct{} // peers whose connection has moved to another process: see leave
	arrivals  atomic.Uint64       // connections accepted, ever
	conns     map[*Conn]struct{}
	listeners map[*Listener]struct{}
	opened    atomic.Uint64 // listeners, ever
	instance  uint64        // random: it tells apart the Nodes of one name

	ids     identifiers
	scratch sync.Pool // *[]byte for encoding
	buffers buffers
	procs   processes
	stats   counters
	part    *part       // nil: the node is one process; set before the node is used
	front   *Front      // nil: this process keeps the connections that peers make
	started atomic.Bool // the upper level receives
	unix    unixOnce

	openings    openings
	challenges  challenges
	failedStart atomic.Pointer[error]  // why Start has failed; nil: it has not
	handles     atomic.Bool            // the program has a Handler, or had
	shaking     wait.Tally             // handshakes in progress that peers have started
	moving      wait.Gate              // shut: a freeze is in progress
	starting    wait.Tally             // starts in progress, of the node or of what is restored
	shutting    atomic.Int32           // calls of Shutdown
	frozen      wait.Gate              // shut: what has not begun waits for the end of the freeze, or of the restoring
	staged      atomic.Bool            // the node is not yet restored
	inherited   atomic.Pointer[[]byte] // see Inherited
}

// New checks cfg and makes a node of it. Nothing is opened yet. The error says what is wrong with cfg: a name (dist.ErrInvalidName),
// flags, a cookie file that cannot be read.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, wrap("new node", "", err)
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, name: cfg.Name,
		creation:  rand.Uint32()>>2 + 4, // 1..3 belong to clients with 16-bit creations
		peers:     map[string]*peer{},
		conns:     map[*Conn]struct{}{},
		listeners: map[*Listener]struct{}{},
	}
	if cfg.Creation != 0 {
		n.creation, n.settled = cfg.Creation, true
	}
	if dir, ok := cfg.Resolver.(SocketDir); ok {
		n.cfg.Resolver = socketsOf{dir, n}
	}
	n.judgeCookie(cfg.Cookie)
	n.ctx, n.end = context.WithCancelCause(context.Background())
	n.scratch.New = func() any { b := make([]byte, 0, 512); return &b }
	n.ids.pid.Store(uint64(cfg.Worker) << (pidBits + workerBits))
	n.ids.ref.Store(rand.Uint64() >> 1)
	n.instance = rand.Uint64()
	n.procs.init(n)
	return n, nil
}

// Name is the node's name, alive@host; "" while a dynamic node has none. It is ei_thisnodename.
func (n *Node) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// Creation tells this incarnation of the node's name from earlier ones.
func (n *Node) Creation() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.creation
}

// identity is the name and the creation that identifiers carry; to take it fixes the creation.
func (n *Node) identity() (ei.Atom, uint32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.name == "" {
		return "", 0, ErrUnnamed
	}
	n.used = true
	return ei.Atom(n.name), n.creation, nil
}

// self is what the node says of itself in a handshake; over is called at the end of the handshake.
func (n *Node) self() (s dist.Self, over func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used = true
	s = dist.Self{
		Name: n.name, Flags: n.cfg.Flags, Creation: n.creation, Cookie: n.cfg.Cookie, Cookies: n.cfg.Cookies,
		Challenge: n.challenges.make(), IsOwn: n.challenges.has,
	}
	if s.Name == "" {
		s.Name, s.Dynamic = n.cfg.Host, true
	}
	return s, func() { n.challenges.drop(s.Challenge) }
}

// takeName makes the name that a peer has given to a dynamic node its own.
func (n *Node) takeName(p dist.Peer) error {
	n.mu.Lock()
	named := n.name == ""
	if named {
		n.name, n.creation, n.settled = p.SelfName, p.SelfCreation, true
	}
	agreed := n.name == p.SelfName
	n.mu.Unlock()
	switch {
	case !agreed:
		return errNamed
	case named: // with mu unlocked: a Logger may ask for the name
		n.log.Info("named by peer", "name", p.SelfName, "peer", p.Name)
	}
	return nil
}

// errNamed says that another peer has named this node meanwhile.
var errNamed = errors.New("another peer named this node first")

// background runs f on a goroutine that Close waits for; false when the node is closing.
func (n *Node) background(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.goroutines.Run(f)
	return true
}

// foreground counts the caller among the goroutines that the end of the node waits for, until it calls goroutines.Leave; false when the
// node has begun to end.
func (n *Node) foreground() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.goroutines.Enter()
	return true
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

// Done is closed when the node begins to close.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

// Err is why the node closed: ErrClosed after Close or Shutdown, ErrMoved when it goes on in another process; nil while it lives.
func (n *Node) Err() error {
	if n.ctx.Err() == nil {
		return nil
	}
	return context.Cause(n.ctx)
}

// ending is why no freeze or other large operation begins any more: the node closes, or is being shut down.
func (n *Node) ending() error {
	if err := n.Err(); err != nil || n.shutting.Load() == 0 {
		return err
	}
	return ErrClosed
}

// lockUnfrozen locks mu once the node is not frozen, unless ctx ends before. A node that is still being restored is not frozen in this
// sense.
func (n *Node) lockUnfrozen(ctx context.Context) error {
	for {
		n.mu.Lock()
		if n.staged.Load() || !n.frozen.IsShut() {
			return nil
		}
		n.mu.Unlock()
		if err := n.frozen.Pass(ctx); err != nil {
			return err
		}
	}
}

// Close ends the node at once: the registration at the port mapper, mailboxes (with reason shutdown), listeners and connections. What waits
// to be sent is lost; Shutdown sends it. It returns when all of the node's goroutines have ended, except those in callbacks that do not
// return within a second. This exception also applies to a Func or a Server's function that calls Close, and to a Handler that calls it
// when told of the end of a process or a connection, unless they do so on a goroutine of their own. Close waits while the node is frozen.
func (n *Node) Close() error {
	_ = n.lockUnfrozen(context.Background())
	n.end(ErrClosed) // from here on nothing is added to what is closed below
	n.mu.Unlock()
	err := n.Unpublish()
	n.endProcesses()
	n.mu.Lock()
	var closers []func() error
	for l := range n.listeners {
		closers = append(closers, l.Close)
	}
	for c := range n.conns {
		closers = append(closers, c.Close)
	}
	if n.part != nil {
		closers = append(closers, n.part.close)
	}
	n.mu.Unlock()
	if len(closers) == 1 {
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
	n.awaitGoroutines()
	return err
}

// awaitGoroutines waits for the goroutines of the node, but not long: one that is in a callback may not come back.
func (n *Node) awaitGoroutines() {
	n.openings.noMore()
	if n.goroutines.None() { // the usual case: setting a timer would wake a thread
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = n.goroutines.Wait(ctx)
}

// endProcesses ends the mailboxes while there are connections to tell other nodes over. It does not wait long for a plug-in that does not
// come back.
func (n *Node) endProcesses() {
	if n.procs.closeEmpty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	told := make(chan struct{})
	go func() { n.procs.closeAll(ctx); close(told) }()
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// farewell is how long a node that closes waits for what should take no time.
const farewell = time.Second

// lastThaw begins a shutdown: from here on no freeze succeeds. It waits for the end of a freeze that has succeeded before.
func (n *Node) lastThaw(ctx context.Context) error {
	n.shutting.Add(1)
	err := n.unfrozen(ctx)
	if err != nil {
		n.shutting.Add(-1)
	}
	return err
}

// Shutdown takes the node out of the cluster in an orderly way. New connections, calls and messages for Servers and Handlers are turned
// away; functions and handlers that are running, or wait for a place of Config.MaxCalls, finish, Servers handle what they have received,
// what all these send goes out, then everything is closed. A call that a Server has left for later (NoReply) is not waited for: its caller
// gets the exit reason shutdown. While any function or handler runs, calls from processes of this node to functions, Handlers and Servers
// here are still served, since the running ones may wait for them. A cast to a Server of this node that no call follows may be dropped, and
// calls that another node makes on behalf of a running function are turned away. The context of a function ends when its caller's
// connection does. If ctx ends first the rest is cut off, and the error, which is ctx's, names what was running. A function, Handler or
// Server that calls Shutdown, other than on a goroutine of its own, is itself waited for, until ctx ends.
//
// At last each peer has a second to read what has gone out and to end its side, and another second whenever it has read some (where
// transport.Stream.OutstandingBytes tells); a peer that takes longer may lose what it has not read, which is no error: see Conn.Shutdown.
// Nor is it an error if a connection fails before ctx ends, with all that it had still to send: that ends as whenever a peer is lost.
func (n *Node) Shutdown(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	if err := n.lastThaw(ctx); err != nil {
		return wrap("shutdown", n.Name(), err)
	}
	err := n.Unpublish()
	for _, l := range n.Listeners() {
		err = errors.Join(err, l.Close())
	}
	err = errors.Join(err, n.procs.drain(ctx))
	n.procs.closeAll(ctx)
	conns := n.connections()
	for _, c := range conns {
		if ferr := c.q.Flush(ctx); ferr != nil && ctx.Err() != nil {
			err = errors.Join(err, wrap("shutdown", c.peer.Name, ferr))
		}
	}
	var all sync.WaitGroup
	for _, c := range conns { // concurrently: a peer that does not answer delays no other
		all.Go(func() { c.byeWhileReads(ctx) })
	}
	all.Wait()
	return errors.Join(err, n.Close())
}
