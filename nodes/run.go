package nodes

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// A run is that of a function for a message, a Func or a Server's function. It is the context
// that the function gets.
type run struct {
	conn *Conn // that the message came over; nil: it is from this node
	call *Call // that the Server's function answers
	over atomic.Bool
	// of a Server's function that has begun, and may panic; see Server.failed
	measured *measuring

	from       ei.Pid      // the process that has sent the message; without words: unknown
	trace      *trace      // that the message has brought
	leader     ei.Pid      // the group leader that the caller has named …
	leaderName ei.Atom     // … if it is a pid, or a name
	muted      atomic.Bool // Config.Rules do not let the caller print there

	mu   sync.Mutex
	self *Mailbox // the process; nil: the node's own, or see process; guarded by mu
	// bytes of memory: of the request, and, in Node.requests, of that and of what it has become;
	// guarded by mu
	brought, held int
	settled       bool // they were given back; guarded by mu

	around context.Context // of a Server's function: that of its process
	// Of a Func.
	n     *Node                       // nil: a Server's function
	does  job                         // what it runs
	place place                       // of Config.MaxCalls
	ended atomic.Bool                 // the context has ended
	below atomic.Pointer[cancellable] // see parent; nil: nobody has asked for it yet
	waits bonds.MonitorID             // the monitor with which the caller waits for the result; without words: none
	asked bool                        // the caller waits for the result
	gone  atomic.Bool                 // it does not wait any more
	// guarded by remoteRuns: the Func's name, and with how many arguments it is called; the run
	// does not outlast the node's service (EndAtStop)
	calls  function
	arity  int
	yields bool
	// the log has that the function is not there, or cannot take its arguments
	complained bool
}

// A job is what a run does.
type job interface{ do(t *run) }

type runKey struct{}

// A cancellable is a context, and what ends it.
type cancellable struct {
	context.Context
	cancel context.CancelFunc
}

// within is the run as a context within another one.
func (t *run) within(ctx context.Context) context.Context {
	t.around = ctx
	return t
}

// runOf is the run that ctx carries; nil if it carries none.
func runOf(ctx context.Context) *run {
	t, _ := ctx.Value(runKey{}).(*run)
	return t
}

// parent is the context around the run. That of a Func ends with it, and is made when it is first
// asked for: most functions never do.
func (t *run) parent() context.Context {
	if t.n == nil {
		return t.around
	}
	if t.below.Load() == nil {
		ctx, cancel := context.WithCancel(t.n.ctx)
		if !t.below.CompareAndSwap(nil, &cancellable{ctx, cancel}) || t.ended.Load() {
			cancel()
		}
	}
	return t.below.Load()
}

// end ends the context of a Func.
func (t *run) end() {
	t.ended.Store(true)
	if below := t.below.Load(); below != nil { // else parent sees that it has ended
		below.cancel()
	}
}

// Deadline, Done, Err and Value are those of a context.
func (t *run) Deadline() (time.Time, bool) { return t.parent().Deadline() }

// Done is closed when the context has ended.
func (t *run) Done() <-chan struct{} { return t.parent().Done() }

// Err is why the context has ended.
func (t *run) Err() error {
	switch {
	case t.n == nil:
		return t.around.Err()
	case t.ended.Load():
		return context.Canceled
	}
	return t.n.ctx.Err()
}

// Value gives the run itself, what its message has brought, or what the context around it has.
func (t *run) Value(key any) any {
	switch key.(type) {
	case runKey:
		return t
	case traceKey:
		if t.trace != nil {
			return t.trace
		}
	}
	return t.parent().Value(key)
}

// String names the context where one is printed: its fields are in use.
func (t *run) String() string { return "context of a function" }

// caller is the connection over which the function was called; nil: a caller on this node.
func (t *run) caller() *Conn {
	if t == nil {
		return nil
	}
	return t.conn
}

// ConnOf is the connection over which a Func, or a Server's function, was called; nil for a caller
// on this node.
func ConnOf(ctx context.Context) *Conn {
	return runOf(ctx).caller().toOthers()
}

// CallerOf is the process that has called the function which runs with ctx: of a Func the one that
// has spawned its process (the parent), or that waits for the result; of a Server's function the
// one that Call.From names, or the sender of the message. It is the peer's word, and may be of
// another node than ConnOf's, which has then passed the call on; it is zero if the message does not
// say, and for any other context.
func CallerOf(ctx context.Context) ei.Pid {
	if t := runOf(ctx); t != nil {
		return t.from
	}
	return ei.Pid{}
}

type leaderKey struct{}

// WithGroupLeader derives a context for calls whose functions are to have that group leader: what
// they print appears there. It takes the place of the one that GroupLeaderOf gives.
func WithGroupLeader(ctx context.Context, leader ei.Pid) context.Context {
	return context.WithValue(ctx, leaderKey{}, leader)
}

// namedLeader is the group leader that the caller has named; nil: none. t may be nil.
func (t *run) namedLeader() ei.Term {
	switch {
	case t == nil:
	case t.leader.Node != "":
		return t.leader
	case t.leaderName != "":
		return t.leaderName
	}
	return nil
}

// beginWait notes that the function waits for an answer, until endWait. It has no place meanwhile,
// which the answer may need. t may be nil.
func (t *run) beginWait() {
	if t != nil {
		t.place.change(func() { t.place.waits++ })
	}
}

func (t *run) endWait() {
	if t != nil {
		t.place.change(func() { t.place.waits-- })
	}
}

// A place is a Func's, of Config.MaxCalls. It has it from its beginning to its end, but not while
// it waits for an answer, nor once its caller has given up. That of a Server's function is none.
type place struct {
	of   *places.Places // nil: none
	peer string

	mu          sync.Mutex
	begun, over bool
	waits       int // calls that the function waits in
	gone        bool
	job         *places.Job // in the queue for places; nil: it did not have to wait
}

func (p *place) isTaken() bool { return p.begun && !p.over && p.waits == 0 && !p.gone }

// change makes a change, and gives the place back, or takes one again, if that follows from it.
func (p *place) change(f func()) {
	if p.of == nil {
		return
	}
	p.mu.Lock()
	was := p.isTaken()
	f()
	is := p.isTaken()
	p.mu.Unlock()
	switch {
	case was && !is:
		p.of.Leave(p.peer)
	case is && !was:
		p.of.Resume(p.peer)
	}
}

// waitsAs notes what waits for the place.
func (p *place) waitsAs(job *places.Job) {
	p.mu.Lock()
	p.job = job
	gone := p.gone
	p.mu.Unlock()
	if gone && job != nil {
		p.of.BeginNow(p.peer, job)
	}
}

// abandon gives the place up for good. A function that still waits for one begins, to find that it
// is over.
func (p *place) abandon() {
	p.change(func() { p.gone = true })
	p.mu.Lock()
	job := p.job
	p.mu.Unlock()
	if job != nil {
		p.of.BeginNow(p.peer, job)
	}
}

// begin is called when there is a place; false: none is needed, since the caller has given up
// meanwhile.
func (p *place) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
	return p.isTaken()
}

// remoteRuns are the functions that run for remote callers, or wait for a place. If a caller no
// longer waits for the result, the function's context ends. A node that shuts down waits for
// functions, but not for those, whatever they are, whose callers' connections have ended.
type remoteRuns struct {
	mu      sync.Mutex
	all     map[*run]struct{}
	awaited map[bonds.MonitorID]*run // those whose callers wait with a monitor
	drains  bool
}

func (s *remoteRuns) add(t *run) {
	s.mu.Lock()
	lazymap.Put(&s.all, t, struct{}{})
	if t.waits.Ref.Len > 0 {
		lazymap.Put(&s.awaited, t.waits, t)
	}
	lost := t.isLost() && (t.asked || s.drains) // what was read before the end still counts
	s.mu.Unlock()
	if lost {
		t.abandon()
	}
}

func (s *remoteRuns) remove(t *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
	if s.awaited[t.waits] == t {
		delete(s.awaited, t.waits)
	}
}

// calls notes which function a run is about to call; t may be nil.
func (s *remoteRuns) calls(t *run, f function, arity int) {
	if t != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.calls, t.arity = f, arity
	}
}

// calledBy is the function that a run calls, or is about to.
func (s *remoteRuns) calledBy(t *run) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.calls.with(t.arity)
}

// complain notes that the log has what is wrong with the call; t may be nil.
func (t *run) complain() {
	if t != nil {
		t.complained = true
	}
}

// drain notes that the node shuts down.
func (s *remoteRuns) drain() {
	s.mu.Lock()
	s.drains = true
	s.mu.Unlock()
	s.abandon(func(t *run) bool { return t.yields || t.isLost() })
}

// yield ends the contexts of functions that no move is to wait for.
func (s *remoteRuns) yield() { s.abandon(func(t *run) bool { return t.yields }) }

// EndAtStop has the context of the Func that runs with ctx end when the node stops (Shutdown, after
// its drain), or is to move to another process: for one that goes on for as long as its caller
// likes, and would be waited for. A loop over messages ends when the node stops without it. For any
// other context it does nothing.
func EndAtStop(ctx context.Context) {
	t := runOf(ctx)
	if t == nil || t.n == nil {
		return
	}
	s := &t.n.procs.runs
	s.mu.Lock()
	t.yields = true
	late := s.drains
	s.mu.Unlock()
	if late {
		t.abandon()
	}
}

// lost notes that a connection has ended.
func (s *remoteRuns) lost(c *Conn) {
	if c.lost() {
		s.abandon(func(t *run) bool { return t.conn == c && (t.asked || s.drains) })
	}
}

// unawaited notes that a caller has ended the monitor with which it waited: it has given up, if it
// has no result yet.
func (s *remoteRuns) unawaited(id bonds.MonitorID) {
	s.mu.Lock()
	t := s.awaited[id]
	s.mu.Unlock()
	if t != nil {
		t.abandon()
	}
}

// abandon abandons the runs of which is returns true; it is called with s.mu held.
func (s *remoteRuns) abandon(is func(t *run) bool) {
	var all []*run
	s.mu.Lock()
	for t := range s.all {
		if is(t) {
			all = append(all, t)
		}
	}
	s.mu.Unlock()
	for _, t := range all {
		t.abandon()
	}
}

// isLost tells whether the connection over which the function was called has ended.
func (t *run) isLost() bool { return t.conn != nil && t.conn.lost() }

// abandon ends the context of a function whose result nobody awaits. However long it goes on, it
// occupies no place.
func (t *run) abandon() {
	t.gone.Store(true)
	t.end()
	t.place.abandon()
}

// processEnded ends the context of a function whose process has ended. If an exit signal has ended
// that, the function occupies no place either, even if it goes on.
func (t *run) processEnded() {
	if t.over.Load() {
		t.end()
	} else {
		t.abandon()
	}
}

// with writes a function as people, and Config.Rules, do: shop:quote/1.
func (f function) with(arity int) string { return mfa(string(f.module), string(f.name), arity) }

func mfa(module, name string, arity int) string { return fmt.Sprintf("%s:%s/%d", module, name, arity) }

// names gives the functions that run, and how many of each.
func (s *remoteRuns) names() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for t := range s.all {
		if t.calls != (function{}) {
			counts[t.calls.with(t.arity)]++
		}
	}
	for f, n := range counts {
		names = append(names, fmt.Sprintf("%d of %s", n, f))
	}
	return names
}

// describe adds what there is to say of the function that a process runs.
func (s *remoteRuns) describe(t *run, d *introspect.Process) {
	d.Parent, d.GroupLeader = t.from, t.namedLeader()
	s.mu.Lock()
	d.Runs = introspect.MFA{Module: t.calls.module, Function: t.calls.name, Arity: t.arity}
	s.mu.Unlock()
	t.place.mu.Lock()
	d.Running = t.place.isTaken()
	t.place.mu.Unlock()
}

// label gives the goroutine that runs f for a process, if there is one, the labels by which
// profiles know it, and returns the context for what else runs for it (see Config.ProfileLabels).
func (n *Node) label(ctx context.Context, b *Mailbox, c *Conn, f function) context.Context {
	if !n.cfg.ProfileLabels {
		return ctx
	}
	labels := []string{"node", n.Name()}
	if b != nil {
		labels = append(labels, "process", b.pid.String())
	}
	if f != (function{}) {
		labels = append(labels, "function", string(f.module+":"+f.name))
	}
	if c != nil {
		labels = append(labels, "peer", c.Name())
	}
	ctx = pprof.WithLabels(ctx, pprof.Labels(labels...))
	pprof.SetGoroutineLabels(ctx)
	return ctx
}
