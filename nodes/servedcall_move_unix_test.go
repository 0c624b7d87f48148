//go:build unix

package nodes

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// laters are processes that leave each call for later, in all the ways there are. What they have
// left comes out of the channel.
func laters(n *Node, calls chan<- *Call) error {
	leave := func(c *Call) any { calls <- c; return NoReply }
	_, call := n.Serve("call", Server{Call: func(_ context.Context, c *Call) (any, error) { return leave(c), nil }}, nil)
	any := FuncOf(func(ctx context.Context, _ ei.Term) any { return leave(CallOf(ctx)) })
	_, on := n.Serve("on", Server{On: map[string]Func{"": any}}, nil)
	_, handler := n.Handle("handler", func(self *Mailbox, m *Message) {
		if c, ok := self.CallOf(m); ok {
			leave(c)
		}
	}, nil)
	b, box := n.NewMailbox(nil)
	if box == nil {
		box = n.Register(n.ctx, "box", b)
		go func() {
			for m, err := range b.All(n.ctx) {
				if err != nil {
					return
				}
				if c, ok := b.CallOf(m); ok {
					leave(c)
				}
			}
		}()
	}
	return errors.Join(call, on, handler, box)
}

var laterNames = []string{"call", "on", "handler", "box"}

// A laterWorld is a peer that calls each of the laters of a node.
type laterWorld struct {
	*world
	peer, n *Node
	calls   chan *Call // as they are left for later
	answers map[string]<-chan result[ei.Term]
}

func newLaterWorld(t *testing.T, edit ...func(*Config)) *laterWorld {
	w := &laterWorld{world: newWorld(t, movers[0]), calls: make(chan *Call, 100)}
	w.peer = w.started("peer")
	w.n = w.started("front", append(edit, func(c *Config) {
		setup := c.Setup
		c.Setup = func(n *Node) error {
			err := laters(n, w.calls)
			if err == nil && setup != nil {
				err = setup(n)
			}
			return err
		}
	})...)
	w.n.shakeTime = time.Millisecond // nothing is answered meanwhile
	return w
}

// call makes a call of each, and returns them as they are left for later.
func (w *laterWorld) call() (left []*Call) {
	w.t.Helper()
	w.answers = map[string]<-chan result[ei.Term]{}
	for _, name := range laterNames {
		w.answers[name] = async(func() (ei.Term, error) { return w.peer.CallName(w.ctx(), "front@test", name, ei.Atom(name)) })
		left = append(left, arrives(w.t, w.calls, "the call"))
	}
	return left
}

// forsaken requires that each caller hears that there is no answer.
func (w *laterWorld) forsaken() {
	w.t.Helper()
	for name, answer := range w.answers {
		require.Equal(w.t, ei.Atom("shutdown"), exitOf(w.t, arrives(w.t, answer, "the news of "+name).err), name)
	}
}

// answered requires that each caller has the name that it has called as its answer.
func (w *laterWorld) answered() {
	w.t.Helper()
	for name, answer := range w.answers {
		r := arrives(w.t, answer, "the answer of "+name).must(w.t)
		require.Equal(w.t, ei.Atom(name), r)
	}
}

// Who has called a process that leaves the call for later hears at once that there is no answer
// when the process goes on elsewhere.
func TestCallLeftForLaterMoves(t *testing.T) {
	w := newLaterWorld(t)
	left := w.call()
	n := upgrade(t, w.n)
	w.forsaken()
	for i, c := range left {
		require.ErrorIs(t, c.Reply(w.ctx(), 1), ErrMoved, laterNames[i])
	}
	for _, name := range laterNames {
		require.Empty(t, watchersOf(n.Whereis(name)), name)
	}
	w.n = n // the processes go on
	left = w.call()
	for i, c := range left {
		require.NoError(t, c.Reply(w.ctx(), ei.Atom(laterNames[i])))
	}
	w.answered()
}

// A program that hands over who waits answers in the new process, or in the one after that.
func TestCallLeftForLaterIsAnsweredElsewhere(t *testing.T) {
	var left, goOn []*Call
	w := newLaterWorld(t, func(c *Config) {
		c.Handover = func(context.Context) ([]byte, error) { return ei.Append(nil, left) }
		c.Setup = func(n *Node) error {
			blob, ok := n.Inherited()
			if !ok {
				return nil
			}
			froms, err := ei.Raw(blob).Decode()
			if err != nil {
				return err
			}
			goOn = nil
			for i, from := range froms.(ei.List) {
				c, err := n.Whereis(laterNames[i]).CallFrom(from)
				if err != nil {
					return err
				}
				goOn = append(goOn, c)
			}
			return nil
		}
	})
	left = w.call()
	for range 2 {
		w.n = upgrade(t, w.n)
		left = goOn
	}
	for i, c := range left {
		require.NoError(t, c.Reply(w.ctx(), ei.Atom(laterNames[i])))
		require.ErrorIs(t, c.Reply(w.ctx(), 1), ErrReplied)
	}
	w.answered()
	for _, wrong := range []ei.Term{ei.Atom("x"), ei.Tuple{ei.Int(1), ei.Int(2)}, ei.Raw{1}} {
		_, err := w.n.Whereis("call").CallFrom(wrong)
		require.Error(t, err)
	}
	require.NoError(t, w.peer.Close())
	require.Eventually(t, func() bool { return w.n.Conn("peer@test") == nil }, tooLong, tick)
	from := of(ei.Append(nil, left[0])).must(t)
	_, err := w.n.Whereis("call").CallFrom(ei.Raw(from))
	require.ErrorIs(t, err, ErrNoConnection)
}

// A freeze waits a little for answers, of a node and of a connection.
func TestFreezeAwaitsLater(t *testing.T) {
	for kind, freeze := range map[string]func(w *laterWorld) (func(), error){
		"node": func(w *laterWorld) (func(), error) {
			f, err := w.n.Freeze(w.ctx())
			return f.Thaw, err
		},
		"connection": func(w *laterWorld) (func(), error) {
			f, err := w.n.Conn("peer@test").Freeze(w.ctx())
			return f.Thaw, err
		},
	} {
		t.Run(kind, func(t *testing.T) {
			w := newLaterWorld(t)
			w.n.shakeTime = tooLong
			left := w.call()
			frozen := async(func() (func(), error) { return freeze(w) })
			require.Eventually(t, w.n.Conn("peer@test").later.Awaited, tooLong, tick)
			for i, c := range left {
				require.NoError(t, c.Reply(w.ctx(), ei.Atom(laterNames[i])))
			}
			f := arrives(t, frozen, "the freeze").must(t)
			f()
			w.answered()
		})
	}
}

// A connection that moves alone leaves the calls behind: their callers hear so, unless it comes
// back.
func TestCallLeftForLaterStays(t *testing.T) {
	w := newLaterWorld(t, same(4711))
	other := w.node("front", same(4711), func(c *Config) { c.Worker = 1 })
	other.started.Store(true)
	require.NoError(t, laters(other, nil))
	for _, to := range []*Node{w.n, other} {
		left := w.call()
		m := of(w.n.Conn("peer@test").Detach(w.ctx())).must(t)
		for _, c := range left {
			require.ErrorIs(t, c.Reply(w.ctx(), 1), ErrMoved)
		}
		of(to.Adopt(w.ctx(), m)).must(t)
		if to == other {
			w.forsaken()
			continue
		}
		for i, c := range left {
			require.NoError(t, c.Reply(w.ctx(), ei.Atom(laterNames[i])))
		}
		w.answered()
	}
}

// Whenever a node moves, nobody waits in vain: a caller has its answer, or hears that there is
// none.
func TestCallsLeftForLaterThroughMoves(t *testing.T) {
	const moves = 10
	var none, some atomic.Int64
	var open sync.WaitGroup
	setup := func(n *Node) error {
		_, err := n.Serve("srv", Server{Call: func(ctx context.Context, c *Call) (any, error) {
			switch rand.IntN(8) {
			case 0: // never
			case 1:
				open.Go(func() { _ = c.Reply(n.ctx, c.Request) })
			default:
				return c.Request, nil
			}
			return NoReply, nil
		}}, nil)
		return err
	}
	w := newWorld(t, movers[0])
	peer, n := w.started("peer"), w.started("front", func(c *Config) { c.Setup = setup })
	n.shakeTime = time.Millisecond
	var stopped atomic.Bool
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for !stopped.Load() {
				k := rand.IntN(1 << 30)
				v, err := peer.CallName(w.ctx(), "front@test", "srv", k)
				switch exit := (*ExitError)(nil); {
				case err == nil && v == ei.Term(ei.Int(k)):
					some.Add(1)
				case errors.As(err, &exit) && exit.Reason == ei.Term(ei.Atom("shutdown")):
					none.Add(1)
				default:
					t.Error(v, err)
					return
				}
			}
		})
	}
	for range moves {
		require.Eventually(t, func() bool { return !w.conn(n, "peer@test").later.None() }, tooLong, tick)
		n = upgrade(t, n)
		n.shakeTime = time.Millisecond
	}
	stopped.Store(true)
	over := make(chan struct{})
	go func() { defer close(over); callers.Wait() }()
	for end := false; !end; { // a call may come after one more move, and be left then
		n = upgrade(t, n)
		select {
		case <-over:
			end = true
		case <-time.After(tick):
		}
	}
	open.Wait()
	require.Positive(t, none.Load())
	t.Log(some.Load(), "answers,", none.Load(), "without one")
}
