package nodes

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// A run is that of a function for a message, a Func or a Server's function. It is the context
// that the function gets.
type run struct {
	conn *Conn // that the message came over; nil: it is from this node
	call *Call // that the Server's function answers
	over atomic.Bool
	// of a Server's function that has begun, and may panic; see Server.failed
	measured *meter.Run

	from       ei.Pid          // the process that has sent the message; without words: unknown
	trace      *seqtrace.Trace // that the message has brought
	leader     ei.Pid          // the group leader that the caller has named …
	leaderName ei.Atom         // … if it is a pid, or a name
	muted      atomic.Bool     // Config.Rules do not let the caller print there

	mu   sync.Mutex
	self *Mailbox // the process; nil: the node's own, or see process; guarded by mu
	// bytes of memory: of the request, and, in Node.requests, of that and of what it has become;
	// guarded by mu
	brought, held int
	settled       bool // they were given back; guarded by mu

	task   *task           // of a Func; nil: a Server's function
	around context.Context // that of a Server's process
}

type runKey struct{}

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

// parent is the context around the run.
func (t *run) parent() context.Context {
	if t.task == nil {
		return t.around
	}
	return t.task.context()
}

// Deadline, Done, Err and Value are those of a context.
func (t *run) Deadline() (time.Time, bool) { return t.parent().Deadline() }

// Done is closed when the context has ended.
func (t *run) Done() <-chan struct{} { return t.parent().Done() }

// Err is why the context has ended.
func (t *run) Err() error {
	switch {
	case t.task == nil:
		return t.around.Err()
	case t.task.ended.Load():
		return context.Canceled
	}
	return t.task.n.ctx.Err()
}

// Value gives the run itself, what its message has brought, or what the context around it has.
func (t *run) Value(key any) any {
	switch key.(type) {
	case runKey, gofunc.DecoderKey:
		return t
	case seqtrace.Key:
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

// work is the task that the run is of; nil: it is of none. t may be nil.
func (t *run) work() *task {
	if t == nil {
		return nil
	}
	return t.task
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
	if k := t.work(); k != nil {
		k.place.Wait()
	}
}

func (t *run) endWait() {
	if k := t.work(); k != nil {
		k.place.Waited()
	}
}

// with writes a function as people, and Config.Rules, do: shop:quote/1.
func (f function) with(arity int) string { return mfa(string(f.module), string(f.name), arity) }

func mfa(module, name string, arity int) string { return fmt.Sprintf("%s:%s/%d", module, name, arity) }

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
