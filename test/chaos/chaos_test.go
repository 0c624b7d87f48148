package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Nodes that are frozen and thawed lose nothing, and nobody notices.
func TestFreezes(t *testing.T) {
	over(t, func(t *testing.T, w *world) {
		w.play(3, w.calls(true))
		w.play(3, w.monitors(true))
		w.play(3, w.links(true))
		w.play(2, w.sends(true))
		w.play(1, w.freezes)
		w.over()
	})
}

// What happens to a process is told exactly once, and every call returns, also where connections
// are closed all the time.
func TestBrokenConnections(t *testing.T) {
	over(t, func(t *testing.T, w *world) {
		w.play(3, w.calls(false))
		w.play(3, w.monitors(false))
		w.play(3, w.links(false))
		w.play(2, w.sends(false))
		w.play(1, w.freezes)
		w.play(1, w.breaks)
		w.over()
	})
}

func over(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("UNIX", func(t *testing.T) { f(t, begin(t, overUnix(t))) })
	t.Run("TCP", func(t *testing.T) { f(t, begin(t, overTCP(t))) })
}

// freezes freezes a node or a connection, and thaws it.
func (w *world) freezes(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	pause(r, 100)
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if r.IntN(2) == 0 {
		if f, err := one.Freeze(ctx); err == nil { // functions may have more to do than that
			pause(r, 10)
			f.Thaw()
		}
		return
	}
	if c := one.Conn(other.Name()); c != nil {
		if f, err := c.Freeze(ctx); err == nil {
			pause(r, 10)
			f.Thaw()
		}
	}
}

// breaks closes a connection, and sometimes makes a new one from both ends at once.
func (w *world) breaks(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	pause(r, 60)
	if c := one.Conn(other.Name()); c != nil {
		if r.IntN(2) == 0 {
			_ = c.Close()
		} else {
			_ = c.Shutdown(ctx)
		}
	}
	if r.IntN(2) == 0 {
		done := make(chan struct{})
		go func() { defer close(done); _, _ = other.Connect(ctx, one.Name()) }()
		_, _ = one.Connect(ctx, other.Name())
		<-done
	}
}

func pause(r *rand.Rand, ms int) { time.Sleep(time.Duration(r.IntN(ms)) * time.Millisecond) }

// calls makes calls, some of which fail or are given up. Whole: no connection is closed.
func (w *world) calls(whole bool) func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	return func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
		n := ei.Int(r.Int32())
		what := []string{"server", "echo", "wait", "fail", "none"}[r.IntN(5)]
		hasty := r.IntN(4) == 0
		if hasty {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, time.Duration(r.IntN(5))*time.Millisecond)
			defer stop()
		}
		var got ei.Term
		var err error
		if what == "server" {
			got, err = one.CallName(ctx, other.Name(), "server", n)
		} else {
			got, err = one.RPC(ctx, other.Name(), "chaos", what, n)
		}
		switch fails := what == "fail" || what == "none"; {
		case err == nil && (fails || ei.Compare(got, n) != 0):
			w.t.Errorf("%s gives %v for %v", what, got, n)
		case err != nil && whole && !hasty && !fails:
			w.t.Errorf("%s: %v", what, err)
		}
	}
}

// monitors has a process watched by several monitors, of which some are taken back, and end.
func (w *world) monitors(whole bool) func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	return func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
		watcher, victim := must(one.NewMailbox(nil)), must(other.NewMailbox(nil))
		defer watcher.Close()
		defer victim.Close()
		due, possible := map[string]bool{}, map[string]bool{} // references
		for range 1 + r.IntN(4) {
			ref, err := watcher.Monitor(ctx, victim.Pid())
			switch {
			case err != nil && whole:
				w.t.Errorf("monitor: %v", err)
			case err != nil:
			case r.IntN(4) == 0:
				watcher.Demonitor(context.Background(), ref)
				possible[ref.String()] = !whole // a message that has come already stays
			default:
				due[ref.String()] = true
			}
		}
		go victim.Exit(ei.Atom("bye"))
		for len(due) > 0 {
			m, err := watcher.Receive(ctx)
			if err != nil {
				w.t.Errorf("%d monitors are silent: %v", len(due), err)
				return
			}
			switch ref := m.Ref.String(); {
			case m.Op == dist.OpMonitorPExit && possible[ref]:
				delete(possible, ref)
			case m.Op != dist.OpMonitorPExit || !due[ref]:
				w.t.Errorf("%v for %v, of which nothing was to come", m.Op, m.Ref)
				return
			// it has ended first
			case whole && ei.Compare(m.Reason, ei.Atom("bye")) != 0 && ei.Compare(m.Reason, ei.Atom("noproc")) != 0:
				w.t.Errorf("a process that has said bye ended with %v", m.Reason)
				return
			default:
				delete(due, ref)
			}
		}
		if whole || len(possible) == 0 {
			w.nothing(ctx, watcher)
		}
	}
}

// links links two processes, from one side or from both, and ends one of them.
func (w *world) links(whole bool) func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	return func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
		stays, goes := must(one.NewMailbox(&nodes.MailboxOptions{TrapExit: true})), must(other.NewMailbox(nil))
		defer stays.Close()
		defer goes.Close()
		if err := stays.Link(ctx, goes.Pid()); err != nil {
			if whole {
				w.t.Errorf("link: %v", err)
			}
			return
		}
		both, unlinks := r.IntN(2) == 0, r.IntN(4) == 0
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if both {
				_ = goes.Link(ctx, stays.Pid())
			}
			goes.Exit(ei.Atom("bye"))
		}()
		defer func() { <-gone }()
		if unlinks {
			_ = stays.Unlink(ctx, goes.Pid())
			return
		}
		m, err := stays.Receive(ctx)
		if err != nil || m.Op != dist.OpExit || m.From != goes.Pid() {
			w.t.Errorf("no exit signal of a linked process: %v, %v", m, err)
			return
		}
		// else the other side may have linked again, after its first link had been broken
		if !both {
			w.nothing(ctx, stays)
		}
	}
}

// nothing checks that a mailbox gets no message more.
func (w *world) nothing(ctx context.Context, b *nodes.Mailbox) {
	ctx, stop := context.WithTimeout(ctx, 2*time.Millisecond)
	defer stop()
	if m, err := b.Receive(ctx); err == nil {
		w.t.Errorf("one message too many: %v %v %v", m.Op, m.From, m.Ref)
	}
}

// sends sends numbered messages. They come in their order, none of them twice, and none is lost but
// with its connection.
func (w *world) sends(whole bool) func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
	return func(ctx context.Context, r *rand.Rand, one, other *nodes.Node) {
		from, to := must(one.NewMailbox(nil)), must(other.NewMailbox(&nodes.MailboxOptions{Limit: 10_000}))
		defer from.Close()
		defer to.Close()
		const last = 200
		var failed atomic.Int64
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range last {
				if from.Send(ctx, to.Pid(), i) != nil {
					failed.Add(1)
				}
			}
			for to.Err() == nil && ctx.Err() == nil { // the last one may be lost, too
				_ = from.Send(ctx, to.Pid(), last)
				if whole {
					return
				}
				pause(r, 5)
			}
		}()
		defer func() { _ = to.Close(); <-sent }()
		for before := -1; before < last; {
			m, err := to.Receive(ctx)
			if err != nil {
				w.t.Errorf("after message %d: %v", before, err)
				return
			}
			var n int
			_, err = fmt.Sscan(fmt.Sprint(must(m.Term())), &n)
			if err != nil || n <= before || whole && n != before+1 {
				w.t.Errorf("message %d after %d (%v)", n, before, err)
				return
			}
			before = n
		}
		if whole && failed.Load() > 0 {
			w.t.Errorf("%d messages could not be sent", failed.Load())
		}
	}
}
