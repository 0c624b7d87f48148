package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// DefaultPatience is how long a worker may take to answer, or to take a session, before it is
	// passed over.
	DefaultPatience = 500 * time.Millisecond
	// DefaultWorkerStart is how long workers may take to be ready. A replacement that takes longer
	// is killed.
	DefaultWorkerStart = 30 * time.Second
	// maxWorkers is how many workers there may be.
	maxWorkers = 1024
)

// A FrontConfig says what a Front does. Node and Workers are all that is needed.
type FrontConfig struct {
	// Node is the configuration of the whole node: its name, where it listens (over transports that
	// its workers must have, too), how it is published. Its Setup, Handover and Thawed are not
	// called: only those of the workers are. A dynamic name is ErrUnnamed.
	Node Config
	// Workers is how many there are, 1 to 1024.
	Workers int
	// Choose picks the worker for a peer that no worker has a connection to; nil is ByName.
	Choose Choose
	// Command makes the command of a worker, which must call StartWorker. WorkerVariable is added
	// to its environment, and two descriptors to its ExtraFiles. nil is this program again, with
	// the same arguments and standard streams.
	Command func() *exec.Cmd
	// Patience is how long a worker may take to answer before it is passed over, 40 ms at least; 0
	// is DefaultPatience.
	Patience time.Duration

	workerStart time.Duration // for tests: in place of DefaultWorkerStart
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
	cfg    FrontConfig
	n      *Node
	l      *Listener                    // the listener that is published
	kinds  map[*Listener]handoff.Socket // the kind of socket that each one accepts
	chosen sync.Mutex                   // one call of Choose at a time

	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu        sync.Mutex
	change    wait.Bell              // rings when a worker comes, goes or is heard of again
	crew      map[int]*workerProcess // by number, from their start to their end
	picked    map[*picking]bool      // sessions that are about to be pushed
	lastPart  int                    // the number that was last given to a worker
	routes    map[string]*route      // by peer
	names     map[string]tenancy     // registered at run time
	nameTable *nametable.Table       // of names; nil: the workers have to ask about every name
	busy      bool                   // the front moves, or its workers do
	released  bool                   // another process has it

	hiring chan struct{} // holds a token while a worker is being started, or while none may be
	still  wait.Gate     // shut: nothing is given to a worker; changed with mu held
}

// A tenancy says which process has a registered name.
type tenancy struct {
	w      *workerProcess
	number uint64 // the key of its pid
}

// StartFront listens, publishes the name and starts the workers. It accepts once all of them are
// ready: peers that come before wait in the backlog. ctx bounds only the start; Shutdown and Close
// end the front and its workers. A plug-in whose sockets cannot be handed to another process is a
// *NotMovableError. In a process that is a worker itself (IsWorker) it is ErrIsWorker.
func StartFront(ctx context.Context, cfg FrontConfig) (*Front, error) {
	f, err := startFront(ctx, cfg)
	return f, wrap("start front", cfg.Node.Name, err)
}

func startFront(ctx context.Context, cfg FrontConfig) (*Front, error) {
	f, err := newFront(cfg)
	if err != nil {
		return nil, err
	}
	n, err := New(f.cfg.Node)
	if err != nil {
		return nil, err
	}
	f.n = n
	n.taker = f
	n.started.Store(true) // its connections are not for Accept
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// newFront makes a front without a node.
func newFront(cfg FrontConfig) (*Front, error) {
	if IsWorker() {
		return nil, ErrIsWorker
	}
	if cfg.Workers < 1 || cfg.Workers > maxWorkers {
		return nil, fmt.Errorf("FrontConfig.Workers is %d: want 1 to %d", cfg.Workers, maxWorkers)
	}
	if cfg.Choose == nil {
		cfg.Choose = ByName
	}
	if err := limit("FrontConfig.Patience", &cfg.Patience, DefaultPatience); err != nil {
		return nil, err
	}
	// the message that a session was taken may wait that long
	cfg.Patience = max(cfg.Patience, 4*talk.Lull)
	if cfg.Command == nil {
		cfg.Command = onceMore
	}
	if cfg.workerStart == 0 {
		cfg.workerStart = DefaultWorkerStart
	}
	// they are about Erlang processes, which only workers have
	cfg.Node.Setup, cfg.Node.Handover, cfg.Node.Thawed = nil, nil, nil
	f := &Front{
		cfg: cfg, crew: map[int]*workerProcess{}, picked: map[*picking]bool{}, routes: map[string]*route{},
		names: map[string]tenancy{}, hiring: make(chan struct{}, 1), kinds: map[*Listener]handoff.Socket{},
	}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f, nil
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
		return fmt.Errorf("FrontConfig.Node has no Name: %w", ErrUnnamed)
	}
	listeners, err := n.listen(ctx)
	if err == nil {
		err = f.listens(listeners)
	}
	if err != nil {
		return err
	}
	f.makeNameTable()
	// Published before there are workers, which need the creation; peers that come meanwhile wait
	// in the backlog.
	if err := n.Publish(ctx, f.l); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, f.cfg.workerStart)
	defer cancel()
	first := make(chan error, f.cfg.Workers)
	for slot := range f.cfg.Workers {
		f.wg.Go(func() { f.keepSlot(limit, slot, first, nil) })
	}
	for range f.cfg.Workers {
		select {
		case err := <-first:
			if err != nil {
				return err
			}
		case <-limit.Done():
			return fmt.Errorf("the workers are not ready: %w", limit.Err())
		}
	}
	for _, l := range listeners {
		l.serve()
	}
	return n.ending()
}

// makeNameTable makes an empty name table.
func (f *Front) makeNameTable() {
	var err error
	if f.nameTable, err = nametable.New(); err != nil {
		f.n.log.Warn("workers ask for every name", "error", err)
	}
}

// listens notes the listeners' kinds of socket, and checks that they can be handed over. The first
// listener is the one that is published.
func (f *Front) listens(listeners []*Listener) error {
	f.l = listeners[0]
	for _, l := range listeners {
		if err := movable(l.tr, l.l.Descriptor); err != nil {
			return err
		}
		fd, err := l.l.Descriptor()
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

// Err is why: ErrClosed, or ErrMoved; nil while it runs.
func (f *Front) Err() error { return f.n.Err() }

// Name is the node's name.
func (f *Front) Name() string { return f.n.Name() }

// Addr is where the node listens, as it is published.
func (f *Front) Addr() transport.Addr { return f.l.Addr() }

// Listener is the one that is published. If it breaks, the node keeps the connections that it has.
func (f *Front) Listener() *Listener { return f.l }

// Listeners lists the open listeners, in the order in which they were opened: that of
// Config.Listen, then those of Config.Also.
func (f *Front) Listeners() []*Listener { return f.n.Listeners() }

// Stats are the front's; its handshakes are those that ended before the peer's name was read.
func (f *Front) Stats() Stats { return f.n.Stats() }

// Workers lists the workers that take sessions, in the order of their slots.
func (f *Front) Workers() []WorkerInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []WorkerInfo
	for _, w := range f.bySlot() {
		if w.ready {
			list = append(list, w.info())
		}
	}
	return list
}

// Shutdown takes the node out of the cluster in an orderly way: nothing new is accepted, and every
// worker is told to finish. Those that have not finished when ctx ends are killed, and ctx's error
// is returned.
func (f *Front) Shutdown(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	err := f.still.Pass(ctx)
	if err == nil {
		err = f.n.lastThaw(ctx)
	}
	if err != nil {
		return wrap("shutdown", f.Name(), err)
	}
	err = f.n.Unpublish()
	for _, l := range f.Listeners() {
		err = errors.Join(err, l.Close())
	}
	f.end() // no worker is replaced any more
	f.mu.Lock()
	crew := f.bySlot()
	for _, w := range crew {
		w.line.Say(&talk.Finish{})
	}
	f.mu.Unlock()
	for _, w := range crew {
		select {
		case <-w.gone:
		case <-ctx.Done():
			return errors.Join(err, wrap("shutdown", f.Name(), ctx.Err()), f.Close())
		}
	}
	return errors.Join(err, f.Close())
}

// Close ends the node at once: workers that do not end by themselves within a second are killed. It
// waits while the front is frozen.
func (f *Front) Close() error {
	_ = f.still.Pass(context.Background())
	f.end()
	err := f.n.Close()
	f.mu.Lock()
	for _, w := range f.crew {
		w.dismiss()
	}
	f.mu.Unlock()
	f.wg.Wait()
	f.nameTable.Close()
	return err
}
