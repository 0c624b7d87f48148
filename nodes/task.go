package nodes

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// A task is what the run of a Func is beside a run: somebody may wait for its result, it takes a
// place of Config.MaxCalls, and it may be over for whoever has asked before it returns.
type task struct {
	run   *run
	n     *Node                       // that runs it
	does  job                         // what it runs
	place places.Place                // of Config.MaxCalls
	ended atomic.Bool                 // the context has ended
	below atomic.Pointer[cancellable] // see context; nil: nobody has asked for it yet
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

// A job is what a task does.
type job interface{ do() }

// A cancellable is a context, and what ends it.
type cancellable struct {
	context.Context
	cancel context.CancelFunc
}

// context ends with the Func. It is made when it is first asked for: most functions never do.
func (k *task) context() context.Context {
	if k.below.Load() == nil {
		ctx, cancel := context.WithCancel(k.n.ctx)
		if !k.below.CompareAndSwap(nil, &cancellable{ctx, cancel}) || k.ended.Load() {
			cancel()
		}
	}
	return k.below.Load()
}

// end ends the context of a Func.
func (k *task) end() {
	k.ended.Store(true)
	if below := k.below.Load(); below != nil { // else context sees that it has ended
		below.cancel()
	}
}

// remoteRuns are the functions that run for remote callers, or wait for a place. If a caller no
// longer waits for the result, the function's context ends. A node that shuts down waits for
// functions, but not for those, whatever they are, whose callers' connections have ended.
type remoteRuns struct {
	mu      sync.Mutex
	all     map[*task]struct{}
	awaited map[bonds.MonitorID]*task // those whose callers wait with a monitor
	drains  bool
}

func (s *remoteRuns) add(k *task) {
	s.mu.Lock()
	lazymap.Put(&s.all, k, struct{}{})
	if k.waits.Ref.Len > 0 {
		lazymap.Put(&s.awaited, k.waits, k)
	}
	lost := k.isLost() && (k.asked || s.drains) // what was read before the end still counts
	s.mu.Unlock()
	if lost {
		k.abandon()
	}
}

func (s *remoteRuns) remove(k *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, k)
	if s.awaited[k.waits] == k {
		delete(s.awaited, k.waits)
	}
}

// calls notes which function a task is about to call; k may be nil.
func (s *remoteRuns) calls(k *task, f function, arity int) {
	if k != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		k.calls, k.arity = f, arity
	}
}

// calledBy is the function that a task calls, or is about to.
func (s *remoteRuns) calledBy(k *task) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.calls.with(k.arity)
}

// complain notes that the log has what is wrong with the call; k may be nil.
func (k *task) complain() {
	if k != nil {
		k.complained = true
	}
}

// drain notes that the node shuts down.
func (s *remoteRuns) drain() {
	s.mu.Lock()
	s.drains = true
	s.mu.Unlock()
	s.abandon(func(k *task) bool { return k.yields || k.isLost() })
}

// yield ends the contexts of functions that no move is to wait for.
func (s *remoteRuns) yield() { s.abandon(func(k *task) bool { return k.yields }) }

// EndAtStop has the context of the Func that runs with ctx end when the node stops (Shutdown, after
// its drain), or is to move to another process: for one that goes on for as long as its caller
// likes, and would be waited for. A loop over messages ends when the node stops without it. For any
// other context it does nothing.
func EndAtStop(ctx context.Context) {
	k := runOf(ctx).work()
	if k == nil {
		return
	}
	s := &k.n.procs.runs
	s.mu.Lock()
	k.yields = true
	late := s.drains
	s.mu.Unlock()
	if late {
		k.abandon()
	}
}

// lost notes that a connection has ended.
func (s *remoteRuns) lost(c *Conn) {
	if c.lost() {
		s.abandon(func(k *task) bool { return k.run.conn == c && (k.asked || s.drains) })
	}
}

// unawaited notes that a caller has ended the monitor with which it waited: it has given up, if it
// has no result yet.
func (s *remoteRuns) unawaited(id bonds.MonitorID) {
	s.mu.Lock()
	k := s.awaited[id]
	s.mu.Unlock()
	if k != nil {
		k.abandon()
	}
}

// abandon abandons the runs of which is returns true; it is called with s.mu held.
func (s *remoteRuns) abandon(is func(k *task) bool) {
	var all []*task
	s.mu.Lock()
	for k := range s.all {
		if is(k) {
			all = append(all, k)
		}
	}
	s.mu.Unlock()
	for _, k := range all {
		k.abandon()
	}
}

// isLost tells whether the connection over which the function was called has ended.
func (k *task) isLost() bool { return k.run.conn != nil && k.run.conn.lost() }

// abandon ends the context of a function whose result nobody awaits. However long it goes on, it
// occupies no place.
func (k *task) abandon() {
	k.gone.Store(true)
	k.end()
	k.place.Abandon()
}

// processEnded ends the context of a function whose process has ended. If an exit signal has ended
// that, the function occupies no place either, even if it goes on.
func (k *task) processEnded() {
	if k.run.over.Load() {
		k.end()
	} else {
		k.abandon()
	}
}

// names gives the functions that run, and how many of each.
func (s *remoteRuns) names() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for k := range s.all {
		if k.calls != (function{}) {
			counts[k.calls.with(k.arity)]++
		}
	}
	for f, n := range counts {
		names = append(names, fmt.Sprintf("%d of %s", n, f))
	}
	return names
}

// describe adds what there is to say of the function that a process runs.
func (s *remoteRuns) describe(k *task, d *introspect.Process) {
	d.Parent, d.GroupLeader = k.run.from, k.run.namedLeader()
	s.mu.Lock()
	d.Runs = introspect.MFA{Module: k.calls.module, Function: k.calls.name, Arity: k.arity}
	s.mu.Unlock()
	d.Running = k.place.IsTaken()
}
