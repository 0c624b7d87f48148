package global

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A server (server.go) is the state of a global_name_server, and says what a message changes and
// what is to be sent (session.go, names.go, locks.go, partition.go): it waits for nothing. Global
// has it run by the process global_name_server (global.go), and does what takes time elsewhere
// (outside.go): the locker locks the partition and waits for other nodes (locker.go), registrations
// call all nodes (register.go, multicall.go), conflicts are asked about (conflict.go), letters wait
// for connections that are full (post.go). state.go is what moves to another program, workers.go
// what the workers of a node say to each other.

// Options adjust a Global. nil and the zero value are good.
type Options struct {
	// AllowOverlap is kernel's prevent_overlapping_partitions false: the node neither reports lost
	// connections nor ends any because others have reported one. All nodes of a cluster must agree.
	AllowOverlap bool

	patience patience // of tests
}

// A Global is the node's part in global: the names of the cluster's processes, and locks. Its
// methods are safe for concurrent use.
type Global struct {
	n       *nodes.Node
	o       Options
	log     *slog.Logger
	workers bool // the node may have several processes
	box     atomic.Pointer[nodes.Mailbox]
	helper  atomic.Pointer[nodes.Mailbox]
	outbox  *outbox
	locker  *locker
	slots   chan struct{} // connections and monitors that are being made at once
	// unwatched are names of processes of nodes that are being connected to
	unwatched map[string][]*name
	turn      chan struct{} // holds a token while this process registers a name
	own       []string      // the keys of names that it has registered; guarded by turn
	leaves    sync.Once     // see leaveInTime
	drains    atomic.Bool   // the node drains: no name is registered any more

	mu     sync.RWMutex
	server *server // in a process that is not the owner, a copy of the owner's tables
	role   role

	eventsMu sync.Mutex
	events   []func()
	awake    bool

	heldMu sync.Mutex
	held   map[string]heldLock // the helper's locks
}

// A heldLock is a lock that the helper has, or is about to have.
type heldLock struct {
	id    ei.Term
	nodes []string
}

const (
	ownerName  = "cnode_global"        // of the process that decides, in a node with workers
	helperName = "cnode_global_locker" // of the process that locks

	waitsAtOnce = 16
	joinPause   = 500 * time.Millisecond
)

// ErrHidden: a hidden node takes no part in global. Its processes get names by RegisterExternal.
var ErrHidden = errors.New("global: the node is hidden (Config.Visible)")

// Start makes the node take part in global: call it in Config.Setup, so that no peer comes too
// early, also in a process that goes on as the node, or as one of its workers; else after
// Node.Start. The node must be visible, or the error is ErrHidden; nodes.ErrNameTaken if it has a
// global_name_server already, and ctx's if that has ended. It waits for nothing. The Global's life
// does not end with ctx, but with the node. nil options are good.
func Start(ctx context.Context, n *nodes.Node, o *Options) (*Global, error) {
	if err := ctx.Err(); err != nil {
		return nil, &nodes.Error{Op: "start global", Err: err}
	}
	g := &Global{n: n, log: n.Logger(), workers: nodes.IsWorker(), held: map[string]heldLock{}, unwatched: map[string][]*name{},
		slots: make(chan struct{}, waitsAtOnce), turn: make(chan struct{}, 1)}
	if o != nil {
		g.o = *o
	}
	if !n.Visible() {
		return nil, ErrHidden
	}
	g.outbox = newOutbox(g.send, g.hasMoved, g.workers)
	g.locker = newLocker(g)
	g.server = newServer(n.Name(), n.Creation(), g)
	g.server.silent = g.o.AllowOverlap
	wasOwner := n.Whereis(ownerName) != nil
	helper, err := g.newHelper()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	box, err := n.Handle(serverName, g.handle, g.boxOptions())
	if err != nil {
		_ = helper.Close()
		return nil, err
	}
	g.box.Store(box)
	state, moved := box.Inherited()
	if moved {
		g.restore(state)
	}
	if !g.workers || wasOwner {
		if err := n.Register(ownerName, box); err != nil {
			_, _ = helper.Close(), box.Close()
			return nil, err
		}
		g.role.owner = true
	}
	if err := g.watchNodes(box, moved); err != nil {
		_, _ = helper.Close(), box.Close()
		return nil, err
	}
	n.Expose("global", "resolve_it", g.resolveIt)
	go g.keep()
	return g, nil
}

// newHelper makes the process that locks, and calls. What others send it is dropped.
func (g *Global) newHelper() (*nodes.Mailbox, error) {
	helper, err := g.n.Handle(helperName, func(_ *nodes.Mailbox, m *nodes.Message) { m.Release() }, &nodes.MailboxOptions{TrapExit: true})
	if err == nil {
		g.helper.Store(helper)
	}
	return helper, err
}

func (g *Global) boxOptions() *nodes.MailboxOptions {
	return &nodes.MailboxOptions{TrapExit: true, Handover: g.handover}
}

// watchNodes begins, or goes on, with the nodes that are up; g.mu is held.
func (g *Global) watchNodes(box *nodes.Mailbox, moved bool) error {
	up, err := box.MonitorNodes(nodes.VisibleNodes)
	if err != nil {
		return err
	}
	g.pushLater(func() {
		me := box.Pid()
		for _, node := range up {
			g.nodeup(node, me)
		}
		if moved {
			g.resumed()
		}
	})
	return nil
}

// keep makes processes anew that a peer has ended, and runs the locker, until the node ends.
func (g *Global) keep() {
	for g.n.Err() == nil {
		ctx, cancel := context.WithCancel(context.Background())
		var lockers sync.WaitGroup
		lockers.Go(func() { g.locker.run(ctx) })
		select {
		case <-g.n.Done():
		case <-g.box.Load().Done():
		case <-g.helper.Load().Done():
		}
		cancel()
		lockers.Wait()
		select {
		case <-g.n.Done():
			return
		case <-time.After(100 * time.Millisecond): // whoever ends them again and again gains little
		}
		if err := g.renew(); err != nil {
			g.log.Error("global: ended", "error", err)
			return
		}
	}
}

// renew makes the processes anew that have ended.
func (g *Global) renew() error {
	if b := g.helper.Load(); b.Err() != nil {
		if _, err := g.newHelper(); err != nil {
			return err
		}
		g.locker.drop()
		g.push(func() { g.server.startAnew() })
		g.log.Warn("global: the locker was ended, and goes on", "reason", b.Err())
	}
	b := g.box.Load()
	if b.Err() == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log.Warn("global: the server was ended, and goes on", "reason", b.Err())
	box, err := g.n.Handle(serverName, g.handle, g.boxOptions())
	if err != nil {
		return err
	}
	if !g.workers {
		if err := g.n.Register(ownerName, box); err != nil {
			return err
		}
	}
	was := b.Pid()
	g.eventsMu.Lock()
	g.box.Store(box)
	g.awake = false // what has woken the process before may be unread
	g.eventsMu.Unlock()
	if g.workers {
		if g.role.owner {
			g.standBack(was)
		}
		g.role = role{mine: g.role.mine, sent: g.role.sent, last: g.role.last}
	}
	up, err := box.MonitorNodes(nodes.VisibleNodes)
	if err != nil {
		return err
	}
	g.pushLater(func() {
		me := box.Pid()
		g.server.succeed(was, me)
		for _, node := range slices.Collect(maps.Keys(g.server.up)) {
			if g.server.up[node] == me && !slices.Contains(up, node) {
				g.server.nodedown(node, me)
			}
		}
		for node := range g.role.mine {
			if !slices.Contains(up, node) {
				delete(g.role.mine, node)
			}
		}
		for _, node := range up {
			if _, told := g.role.mine[node]; !told {
				g.nodeup(node, me)
			}
		}
		if g.role.owner {
			g.server.watchAgain()
		} else {
			g.elect()
		}
	})
	return nil
}

// handle is the server's Handler.
func (g *Global) handle(self *nodes.Mailbox, m *nodes.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer m.Release()
	switch m.Op {
	case dist.OpMonitorPExit:
		g.down(m.Ref)
		return
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
	default:
		return
	}
	t, err := m.Payload.DecodeWith(&ei.DecodeOptions{Strict: true})
	if err != nil {
		g.log.Debug("global: a message cannot be decoded", "error", err)
		return
	}
	from := g.n.Name()
	if c := m.Conn(); c != nil {
		from = c.Name()
		if e, ok := t.(ei.Tuple); ok && len(e) > 0 && tagOf(e) == "$gen_cast" && from != g.n.Name() && !isVisible(c) {
			return // a hidden node has no sessions
		}
	}
	if from != g.n.Name() {
		g.fromPeer(from, t)
		return
	}
	g.fromHere(m.Conn() == nil, t)
}

// fromHere handles what processes of this node send.
func (g *Global) fromHere(sameProcess bool, t ei.Term) {
	if t == ei.Term(ei.Atom("wake")) {
		g.runEvents()
		return
	}
	m, ok := t.(ei.Tuple)
	if !ok || len(m) == 0 {
		return
	}
	switch of := tagOf(m); {
	case (of == "nodeup" || of == "nodedown") && len(m) == 3 && sameProcess:
		node, _ := m[1].(ei.Atom)
		if of == "nodeup" {
			g.nodeup(string(node), g.box.Load().Pid())
		} else {
			g.nodedown(string(node), g.box.Load().Pid())
		}
	case of == ownerName && len(m) >= 3:
		g.fromWorker(m)
	default:
		g.fromPeer(g.n.Name(), t)
	}
}

// push has f run by the server, and waits while the node is frozen.
func (g *Global) push(f func()) {
	if g.add(f) {
		box := g.box.Load()
		if err := box.Send(context.Background(), box.Pid(), ei.Atom("wake")); err != nil {
			g.eventsMu.Lock()
			g.awake = false // of a server that has ended; the next one is woken
			g.eventsMu.Unlock()
		}
	}
}

// pushLater is push without a wait.
func (g *Global) pushLater(f func()) { go g.push(f) }

func (g *Global) add(f func()) (wake bool) {
	g.eventsMu.Lock()
	defer g.eventsMu.Unlock()
	g.events = append(g.events, f)
	wake = !g.awake
	g.awake = true
	return wake
}

func (g *Global) runEvents() {
	g.eventsMu.Lock()
	list := g.events
	g.events, g.awake = nil, false
	g.eventsMu.Unlock()
	for _, f := range list {
		f()
	}
}

// Known lists the other nodes with which this one has its names in common, in order.
func (g *Global) Known() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Sorted(maps.Keys(g.server.known))
}

// Whereis finds the process that has a name; false if none has. It looks into the node's own
// table, without waiting: global:whereis_name/1. For the form of a name see Register.
func (g *Global) Whereis(name any) (ei.Pid, bool) {
	key, _, err := nameKey(name)
	if err != nil {
		return ei.Pid{}, false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if n := g.server.names[key]; n != nil {
		return n.pid, true
	}
	return ei.Pid{}, false
}

// Names yields the names that the cluster has when the loop begins, in Erlang's order. It looks
// into the node's own table, without waiting: global:registered_names/0.
func (g *Global) Names() iter.Seq[ei.Term] {
	return func(yield func(ei.Term) bool) {
		g.mu.RLock()
		names := make([]ei.Term, 0, len(g.server.names))
		for _, n := range g.server.names {
			names = append(names, n.term)
		}
		g.mu.RUnlock()
		slices.SortFunc(names, ei.Compare)
		for _, name := range names {
			if !yield(name) {
				return
			}
		}
	}
}

// isLocked tells whether anybody has the lock of the names.
func (g *Global) isLocked() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.server.locks[globalKey] != nil
}

// canLock tells whether a lock can be had here.
func (g *Global) canLock(id ei.Term) bool {
	t, ok := id.(ei.Tuple)
	if !ok || len(t) != 2 {
		return false
	}
	resource, _, ok := keyOf(t[0])
	g.mu.RLock()
	defer g.mu.RUnlock()
	l := g.server.locks[resource]
	return ok && (l == nil || l.requesterOf(id) != "")
}
