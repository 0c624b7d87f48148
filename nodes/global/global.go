package global

import (
	"cmp"
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
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/kept"
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
	workers bool          // the node may have several processes
	box     *kept.Process // the server
	helper  *kept.Process // locks, and calls
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
	moved  bool   // the state is that of the process before
	me     ei.Pid // what the server was when it began

	lockingMu sync.Mutex
	there     map[*kept.Process]bool // both are: the locker runs
	endLocker func()                 // nil: it does not run

	heldMu sync.Mutex
	held   map[string]heldLock // the helper's locks
}

// A heldLock is a lock that the helper has, or is about to have.
type heldLock struct {
	ID    ei.Term
	Nodes []string
}

const (
	ownerName  = "cnode_global"        // of the process that decides, in a node with workers
	helperName = "cnode_global_locker" // of the process that locks

	waitsAtOnce = 16
	joinPause   = 500 * time.Millisecond

	// closeTime is how long Close waits for a server that does nothing, in a node that stands still.
	closeTime = time.Second
)

// ErrHidden: a hidden node takes no part in global. Its processes get names by RegisterExternal.
var ErrHidden = errors.New("global: the node is hidden (Config.Visible)")

// Start makes the node take part in global: call it in Config.Setup, so that no peer comes too
// early, also in a process that goes on as the node, or as one of its workers; else after
// Node.Start. The node must be visible, or the error is ErrHidden; nodes.ErrNoCluster if it has but
// a link, nodes.ErrNameTaken if it has a global_name_server already, and ctx's if that has ended.
// It waits for nothing. The Global's life does not end with ctx, but by Close or with the node. nil
// options are good.
func Start(ctx context.Context, n *nodes.Node, o *Options) (*Global, error) {
	if err := cmp.Or(ctx.Err(), n.Inside(inside.Key{}).CheckClustered()); err != nil {
		return nil, &nodes.Error{Op: "start global", Err: err}
	}
	g := &Global{n: n, log: n.Logger(), workers: inside.IsWorker(), held: map[string]heldLock{}, unwatched: map[string][]*name{},
		slots: make(chan struct{}, waitsAtOnce), turn: make(chan struct{}, 1), there: map[*kept.Process]bool{}}
	if o != nil {
		g.o = *o
	}
	if !n.Visible() {
		return nil, ErrHidden
	}
	g.outbox = newOutbox(g.send, g.hasMoved, g.workers)
	g.locker = newLocker(g)
	g.server = newServer(n.Name(), n.Creation(), g)
	g.server.silent, g.server.joins = g.o.AllowOverlap, g.joins
	g.helper = kept.New(kept.Options{
		Node: n, Log: g.log, Name: helperName, Make: g.makeHelper, Begin: g.beginHelper,
		Lost: func() { g.broke(); g.isThere(g.helper, false) }, Over: func(why error) { g.over(g.helper, g.box, why) },
	})
	g.box = kept.New(kept.Options{
		Node: n, Log: g.log, Name: serverName, Make: g.makeServer, Begin: g.beginServer,
		Lost: func() { g.broke(); g.endHelper(); g.isThere(g.box, false) }, Over: func(why error) { g.over(g.box, g.helper, why) },
		State: g.state,
	})
	if err := g.helper.Start(ctx); err != nil {
		return nil, err
	}
	if err := g.box.Start(ctx); err != nil {
		g.helper.Close()
		return nil, err
	}
	n.Expose("global", "resolve_it", g.resolveIt)
	g.exposeSys()
	return g, nil
}

// Close ends this node's part in global, which other nodes do not expect while they are connected:
// names that its processes have stay theirs until they end, and nothing is told of changes any
// more. Unregister names before. It waits for the node's own processes. The error is nil.
func (g *Global) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = g.box.Do(ctx, g.locked(g.server.cancelAll)) // so that no other node waits for this one
	g.box.Close()
	g.helper.Close()
	return nil
}

// Done is closed when the Global has ended: by Close, with its node, or because that goes on in
// another process.
func (g *Global) Done() <-chan struct{} { return g.box.Done() }

// Err is why the Global has ended: nodes.ErrClosed, nodes.ErrMoved, or what kept a process that
// somebody has ended from being made anew; nil while it has not.
func (g *Global) Err() error { return g.box.Err() }

// over ends the one process when the other one cannot be made anew.
func (g *Global) over(of, other *kept.Process, why error) {
	g.isThere(of, false)
	if kept.HasFailed(why) {
		other.End(why)
	}
}

// broke notes that somebody has ended one of the processes: what it was told is lost.
func (g *Global) broke() { g.locked(func() { g.server.Broken = true })() }

// endHelper ends the locks that this node has, and what is done under them, with the server that
// had them. The helper that follows begins anew.
func (g *Global) endHelper() { g.helper.Mailbox().Exit(ei.Atom("killed")) }

// isThere has the locker run while both processes are there.
func (g *Global) isThere(p *kept.Process, is bool) {
	g.lockingMu.Lock()
	defer g.lockingMu.Unlock()
	g.there[p] = is
	switch both := g.there[g.box] && g.there[g.helper]; {
	case both && g.endLocker == nil:
		ctx, cancel := context.WithCancel(context.Background())
		var locker sync.WaitGroup
		locker.Go(func() { g.locker.run(ctx) })
		g.endLocker = func() { cancel(); locker.Wait() }
	case !both && g.endLocker != nil:
		g.endLocker()
		g.endLocker = nil
	}
}

// makeHelper makes the process that locks, and calls. What others send it is dropped.
func (g *Global) makeHelper(context.Context, bool) (*nodes.Mailbox, error) {
	take := func(b *nodes.Mailbox, m *nodes.Message) { kept.RefuseCall(b, m) }
	return g.n.Handle(helperName, g.helper.Handler(take), &nodes.MailboxOptions{TrapExit: true})
}

func (g *Global) beginHelper(*nodes.Mailbox, bool) {
	if g.isBroken() {
		g.locker.drop()
		g.push(g.anew)
	}
	g.isThere(g.helper, true)
}

// anew has the node begin anew with all others.
func (g *Global) anew() {
	if g.role.owner {
		g.server.anew()
		return
	}
	g.server.Broken = false
	g.tellOwner(ei.Atom("anew"), ei.Atom(g.n.Name()))
}

// makeServer makes the server.
func (g *Global) makeServer(_ context.Context, isFirst bool) (*nodes.Mailbox, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	isOwner := !g.workers || isFirst && g.n.Whereis(ownerName) != nil
	box, err := g.n.Handle(serverName, g.box.Handler(g.handle),
		&nodes.MailboxOptions{TrapExit: true, Handover: g.handover, Full: nodes.FullWait}) // a peer's flood holds up that peer only
	if err != nil {
		return nil, err
	}
	if state, ok := box.Inherited(); ok && isFirst {
		g.moved = true
		g.restore(state)
	}
	if isOwner {
		if err := g.n.Register(context.Background(), ownerName, box); err != nil {
			_ = box.Close()
			return nil, err
		}
		g.role.owner = true
	}
	return box, nil
}

// beginServer begins, or goes on, with the nodes that are up.
func (g *Global) beginServer(box *nodes.Mailbox, _ bool) {
	up, err := box.MonitorNodes(context.Background(), nodes.VisibleNodes)
	if err != nil {
		return // it was ended again
	}
	me := box.Pid()
	g.locked(func() {
		was := g.me
		if g.me = me; was != (ei.Pid{}) {
			g.succeed(was, me, up)
			return
		}
		for _, node := range up {
			g.nodeup(node, me)
		}
		if g.moved {
			g.resumed()
		}
	})()
	g.isThere(g.box, true)
}

// succeed goes on in the place of a process that somebody has ended.
func (g *Global) succeed(was, me ei.Pid, up []string) {
	if g.workers {
		if g.role.owner {
			g.standBack(was)
		}
		g.role = role{part: part{Mine: g.role.Mine, Sent: g.role.Sent, Last: g.role.Last}}
	}
	g.server.succeed(was, me)
	g.server.Syncs, g.server.Settles = nil, nil // of callers that ask the new process
	for _, node := range slices.Collect(maps.Keys(g.server.Up)) {
		if g.server.Up[node] == me && !slices.Contains(up, node) {
			g.server.nodedown(node, me)
		}
	}
	for node := range g.role.Mine {
		if !slices.Contains(up, node) {
			delete(g.role.Mine, node)
		}
	}
	for _, node := range up {
		if _, told := g.role.Mine[node]; !told {
			g.nodeup(node, me)
		}
	}
	if g.role.owner {
		g.server.watchAgain()
	} else {
		g.elect()
	}
}

// handle is the server's Handler.
func (g *Global) handle(self *nodes.Mailbox, m *nodes.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m.Op {
	case dist.OpMonitorPExit:
		g.down(m.Ref)
		return
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
	default:
		return
	}
	t, err := ei.DecodeOptions{Strict: true}.Decode(m.Payload)
	if err != nil {
		g.log.Debug("global: a message cannot be decoded", "error", err)
		return
	}
	from := asker.Of(g.n, m.Conn())
	if from == g.n.Name() {
		g.fromHere(m.Conn() == nil, t)
		return
	}
	if e, ok := t.(ei.Tuple); ok && tagOf(e) == "$gen_cast" && !isVisible(m.Conn()) {
		return // a hidden node has no sessions
	}
	g.fromPeer(from, t)
}

// fromHere handles what processes of this node send.
func (g *Global) fromHere(sameProcess bool, t ei.Term) {
	m, ok := t.(ei.Tuple)
	if !ok || len(m) == 0 {
		return
	}
	switch of := tagOf(m); {
	case (of == "nodeup" || of == "nodedown") && len(m) == 3 && sameProcess:
		node, _ := m[1].(ei.Atom)
		if of == "nodeup" {
			g.nodeup(string(node), g.box.Mailbox().Pid())
		} else {
			g.nodedown(string(node), g.box.Mailbox().Pid())
		}
	case of == ownerName && len(m) >= 3:
		g.fromWorker(m)
	default:
		g.fromPeer(g.n.Name(), t)
	}
}

// push has f run by the server, with g.mu held. It does not wait.
func (g *Global) push(f func()) { g.box.Post(g.locked(f)) }

// locked is f with g.mu held.
func (g *Global) locked(f func()) func() {
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
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
