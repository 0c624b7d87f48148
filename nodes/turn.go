package nodes

import (
	"context"
	"sync/atomic"
)

// A turn is one run of a function for a message, a Func or a Server's function. The function's context carries it.
type turn struct {
	conn *Conn    // that the message came over; nil: it is from this node
	self *Mailbox // the Server's mailbox; nil for a Func
	over atomic.Bool

	calls function // the Func's name; guarded by remoteTurns
}

type turnKey struct{}

func (t *turn) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// turnOf is the turn that ctx carries; nil if it carries none.
func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

// ConnOf is the connection over which a Func, or a Server's function, was called; nil for a caller on this node.
func ConnOf(ctx context.Context) *Conn {
	if t := turnOf(ctx); t != nil {
		return t.conn.toOthers()
	}
	return nil
}

// MailboxOf is the Server's process whose function runs with ctx: to send from, to monitor, to Exit. It is nil for any other context.
func MailboxOf(ctx context.Context) *Mailbox {
	if t := turnOf(ctx); t != nil {
		return t.self
	}
	return nil
}

// callerGone tells whether the function that runs with ctx was called over a connection that has ended, so that nobody awaits its result.
func callerGone(ctx context.Context) bool {
	t := turnOf(ctx)
	return t != nil && t.conn != nil && t.conn.lost()
}

// callsSelf tells whether the call that is made with ctx is one of a Server's process to itself.
func callsSelf(ctx context.Context, to target) bool {
	t := turnOf(ctx)
	if t == nil || t.self == nil || t.over.Load() || to.node != t.self.n.Name() {
		return false
	}
	return to.pid == t.self.pid || to.name != "" && t.self.n.procs.named(to.name) == t.self
}

// runsWith tells whether ctx is that of a function which the process's Server is running.
func (b *Mailbox) runsWith(ctx context.Context) bool {
	t := turnOf(ctx)
	return t != nil && t.self == b && !t.over.Load()
}
