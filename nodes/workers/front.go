package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/crew"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

const (
	// defaultPatience is how long a worker may take to answer, or to take a session, before it is
	// passed over.
	defaultPatience = 500 * time.Millisecond
	// defaultWorkerStart is how long workers may take to be ready. A replacement that takes longer is
	// killed.
	defaultWorkerStart = 30 * time.Second
	// maxWorkers is how many workers there may be.
	maxWorkers = 1024
)

// A Config says what a Front does. Node and Workers are all that is needed.
type Config struct {
	// Node is the configuration of the whole node: its name, where it listens, how it is published.
	// Its workers must have the same transports. The front does not call Node's Setup, Handover and
	// Thawed: only those of the workers are called. A dynamic name is nodes.ErrUnnamed.
	Node nodes.Config
	// Workers is how many workers there are, 1 to 1024.
	Workers int
	// Choose picks the worker for a peer that no worker has a connection to. nil: ByName.
	Choose Choice
	// Command makes the command of a worker, which must call Join. CNODE_WORKER is added to its
	// environment, and two descriptors to its ExtraFiles. nil: this program again, with the same
	// arguments and standard streams.
	Command func() *exec.Cmd
	// Patience is how long a worker may take to answer before it is passed over, 40 ms at least. 0:
	// half a second.
	Patience time.Duration

	workerStart time.Duration // for tests: in place of defaultWorkerStart
	trust       time.Duration // for tests: crew.Config.Trust
}

// A Front is the one process of a multi-process node that other nodes know: it has the name, its
// registration and the listener, and decides which worker has which peer. It accepts, reads up to
// the peer's name, and gives the socket to a worker, which does the rest of the handshake and has
// the connection from then on. A peer that connects again while its connection is up, or at the
// same time as a worker connects to it, is given to that worker; so each peer sees one node.
//
// Nothing that a worker does keeps the front waiting: a worker that is full or hangs is passed
// over, one that dies loses its own sessions and is replaced.
type Front struct {
	cfg   Config
	n     *node
	l     *nodes.Listener                    // the listener that is published
	kinds map[*nodes.Listener]handoff.Socket // the kind of socket that each one accepts
	crew  *crew.Crew
}

// Start listens, publishes the name and starts the workers. It accepts once all of them are ready:
// peers that come before wait in the backlog. ctx bounds only the start; Shutdown and Close end the
// front and its workers. A plug-in whose sockets cannot be handed to another process is a
// *nodes.NotMovableError. In a process that is a worker itself (IsWorker) it is ErrIsWorker.
func Start(ctx context.Context, cfg Config) (*Front, error) {
	f, err := startFront(ctx, cfg)
	return f, wrap("start front", cfg.Node.Name, err)
}

func startFront(ctx context.Context, cfg Config) (*Front, error) {
	f, err := newFront(cfg)
	if err != nil {
		return nil, err
	}
	made, err := nodes.New(f.cfg.Node)
	if err != nil {
		return nil, err
	}
	n := insideOf(made)
	f.join(n)
	n.Started.Store(true) // its connections are not for Accept
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// newFront makes a front without a node.
func newFront(cfg Config) (*Front, error) {
	if IsWorker() {
		return nil, ErrIsWorker
	}
	if cfg.Workers < 1 || cfg.Workers > maxWorkers {
		return nil, fmt.Errorf("Config.Workers is %d: want 1 to %d", cfg.Workers, maxWorkers)
	}
	if cfg.Choose == nil {
		cfg.Choose = ByName
	}
	if cfg.Patience < 0 {
		return nil, fmt.Errorf("Config.Patience is %v: want more than 0, or 0 for %v", cfg.Patience, defaultPatience)
	}
	// the message that a session was taken may wait that long
	cfg.Patience = max(cmp.Or(cfg.Patience, defaultPatience), 4*talk.Lull)
	if cfg.Command == nil {
		cfg.Command = onceMore
	}
	if cfg.workerStart == 0 {
		cfg.workerStart = defaultWorkerStart
	}
	// they are about Erlang processes, which only workers have
	cfg.Node.Setup, cfg.Node.Handover, cfg.Node.Thawed = nil, nil, nil
	return &Front{cfg: cfg, kinds: map[*nodes.Listener]handoff.Socket{}}, nil
}

// join makes f the front of a node, with a crew that has no workers yet.
func (f *Front) join(n *node) {
	moment, _ := n.Farewell()
	f.n = n
	f.crew = crew.New(crew.Config{
		Count: f.cfg.Workers, Command: f.cfg.Command, Variable: inside.Variable,
		Start: f.cfg.workerStart, Patience: f.cfg.Patience, Trust: f.cfg.trust,
		Farewell: moment, Retire: moment + f.n.shutdownTime(),
		Choose: f.choose, Node: n.Node, Published: n.IsPublished, Log: n.Log, Closed: nodes.ErrClosed,
	})
	n.BeFront(f.crew.TellPublished)
}

// choose asks Config.Choose.
func (f *Front) choose(peer string, from []crew.Info) (at int, err error) {
	candidates := make([]Info, len(from))
	for i, w := range from {
		candidates[i] = Info(w)
	}
	err = f.n.Guarded("Config.Choose", func() error { at = f.cfg.Choose(peer, candidates); return nil })
	return at, err
}

// onceMore is the command that runs this program again.
func onceMore() *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func (f *Front) begin(ctx context.Context) error {
	n := f.n
	if n.Name() == "" {
		return fmt.Errorf("Config.Node has no Name: %w", nodes.ErrUnnamed)
	}
	listeners, err := n.OpenListeners(ctx)
	if err == nil {
		err = f.listens(listeners)
	}
	if err != nil {
		return err
	}
	// Published before there are workers, which need the creation; peers that come meanwhile wait in
	// the backlog.
	if err := n.Publish(ctx, f.l); err != nil {
		return err
	}
	if err := f.crew.Start(ctx); err != nil {
		return err
	}
	for _, l := range listeners {
		f.serve(l)
	}
	return n.Running()
}

// serve accepts until the listener ends, and gives each connection to a worker.
func (f *Front) serve(l *nodes.Listener) {
	f.n.AcceptFor(l, func(o inside.Opening) error { return f.dispatch(l, o) })
}

// listens notes the listeners' kinds of socket, and checks that they can be handed over. The first
// listener is the one that is published.
func (f *Front) listens(listeners []*nodes.Listener) error {
	f.l = listeners[0]
	for _, l := range listeners {
		fd, err := f.n.DescriptorOf(l)
		if err != nil {
			return err
		}
		if f.kinds[l], err = handoff.Inspect(fd); err != nil {
			return err
		}
	}
	return nil
}

// Done is closed when the front has ended here: by Shutdown or Close, or because another process
// has it.
func (f *Front) Done() <-chan struct{} { return f.n.Done() }

// State is how far the node has come. A Front drains until it is closed: each worker drains, and
// then stops.
func (f *Front) State() nodes.State { return f.n.State() }

// Err is why: nodes.ErrClosed, or nodes.ErrMoved; nil while it runs.
func (f *Front) Err() error { return f.n.Err() }

// Name is the node's name.
func (f *Front) Name() string { return f.n.Name() }

// Addr is where the node listens, as it is published.
func (f *Front) Addr() transport.Addr { return f.l.Addr() }

// Listener is the one that is published. If it breaks, the node keeps the connections that it has.
func (f *Front) Listener() *nodes.Listener { return f.l }

// Listeners lists the open listeners, in the order in which they were opened: that of
// nodes.Config.Listen, then those of nodes.Config.Also.
func (f *Front) Listeners() []*nodes.Listener { return f.n.Listeners() }

// Stats are the front's; its handshakes are those that ended before the peer's name was read.
func (f *Front) Stats() nodes.Stats { return f.n.Stats() }

// Workers lists the workers that take sessions, in the order of their slots.
func (f *Front) Workers() []Info {
	var list []Info
	for _, w := range f.crew.Workers() {
		if i, ready := w.Info(); ready {
			list = append(list, Info(i))
		}
	}
	return list
}

// Shutdown takes the node out of the cluster in an orderly way: it is not published any more,
// nothing new is accepted, and every worker is told to finish, which it does by Node.Shutdown, with
// the grace of its own Config. Those that have not finished when ctx ends are killed, and ctx's
// error is returned. A Close ends it, with nodes.ErrClosed.
func (f *Front) Shutdown(ctx context.Context) error {
	return f.n.ShutdownFront(wait.Ending(ctx), f.crew.AwaitThaw, f.crew.Finish, f.Close)
}

// Close ends the node at once: workers that do not end by themselves within a second are killed. It
// waits while the front is frozen.
func (f *Front) Close() error { return f.crew.Close(f.n.Close) }

// An Upgrade says what became of the upgrade of one worker.
type Upgrade struct {
	Slot     int
	Old, New int // process ids; New is 0 if the new process does not have the worker
	// why the old process goes on; or that it has ended, or that the new one has the worker and does
	// not answer, or has ended since
	Err error
}

// UpgradeWorkers replaces the process of each worker, one after the other, by a new one of
// Config.Command, which goes on with all that the old one has: other nodes, and the other workers,
// see a short silence. Each worker moves separately, and if that fails the old process goes on; so
// does one that is busy for longer than nodes.Config.DrainTimeout, or hangs. A worker that is just
// starting is waited for. The list says what became of each, once all have moved: each answers
// then, or its Err says that it does not. When ctx ends no further move begins. The error is
// handoff.ErrBusy while the workers or the front are already being upgraded.
func (f *Front) UpgradeWorkers(ctx context.Context) ([]Upgrade, error) {
	err := wait.TakesTime(ctx)
	if err == nil {
		err = f.crew.Occupy()
	}
	if err != nil {
		return nil, wrap("upgrade workers", f.Name(), err)
	}
	defer f.crew.Vacate()
	var list []Upgrade
	for _, u := range f.crew.Upgrade(ctx) {
		list = append(list, Upgrade(u))
	}
	return list, nil
}

// ErrNoWorker: no worker has taken the session in the time of a handshake.
var ErrNoWorker = crew.ErrNoWorker

// dispatch reads a peer's name and gives its socket to a worker. On success the caller does not own
// the socket any more.
func (f *Front) dispatch(l *nodes.Listener, o inside.Opening) error {
	ctx, s := o.Ctx, o.Stream
	p, err := packets.New(ctx, s)
	if err != nil {
		return err
	}
	p.Spoke = o.Heard
	who, err := protocol.ReadName(p)
	if err != nil {
		return err
	}
	data := p.Wire()
	state, ahead, err := s.Export()
	if err != nil { // the peer tries again, as a rule in vain
		f.n.Log.Error("a session cannot be given to a worker, and is refused", "peer", who.Name, "remote", s.RemoteAddr().String(),
			"error", err)
		return err
	}
	data = append(data, ahead...)
	if len(data) > bind10.MaxData {
		return fmt.Errorf("%w: %d bytes before the answer to the name", dist.ErrMalformed, len(data))
	}
	id, plain := f.n.TransportID(o.Transport)
	given := crew.Session{
		Stream: s, Kind: f.kinds[l], Transport: id, Default: plain, State: state, Data: data,
	}
	peer := who.Name
	if who.Dynamic() {
		peer = ""
	}
	if err = f.crew.Give(ctx, &given, who.Name, peer); err != nil {
		clear(state) // it may hold keys, and no worker has it
	}
	return err
}

// A Info describes one worker of a Front.
type Info struct {
	Slot     int // 0 and up; a worker that replaces another one has its slot
	PID      int // of the process
	Sessions int // how many it has, including handshakes in progress
}

// A Choice picks the worker for a new session: an index into candidates, of which there is at least
// one. peer is the name of the node that connects, or, if that node asks for a name, its host. A
// worker that has lost a session, as for want of a descriptor, is no candidate for a second, unless
// all have. It is called by one goroutine at a time, must be quick, and must not call the Front,
// which waits for it. A number out of range refuses the session, and so does a panic.
type Choice func(peer string, candidates []Info) int

// ByName is a Choice that always gives a peer to the same worker, and spreads the names evenly:
// when a worker is missing only its peers go elsewhere (rendezvous hashing). It is the default. Of
// nodes that ask for a name only the host is known: those of one host share a worker, where
// BySessions would spread them.
func ByName(peer string, candidates []Info) int {
	best, most := 0, uint64(0)
	for i, w := range candidates {
		h := fnv.New64a()
		_, _ = h.Write([]byte(peer + "/" + strconv.Itoa(w.Slot)))
		if v := mix(h.Sum64()); i == 0 || v > most {
			best, most = i, v
		}
	}
	return best
}

// mix spreads what differs in the last bytes of a short text over all bits (the finalizer of
// splitmix64).
func mix(v uint64) uint64 {
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// BySessions is a Choice that gives a session to the worker that has the fewest; if there are
// several, to the first of them.
func BySessions(_ string, candidates []Info) int {
	best := 0
	for i, w := range candidates {
		if w.Sessions < candidates[best].Sessions {
			best = i
		}
	}
	return best
}
