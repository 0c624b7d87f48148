package nodes

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A mailbox that calls is the caller: the server sees its pid, may send it more, and monitor it;
// and the reply is not among its messages.
func TestMailboxCall(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		for _, node := range []*Node{a, b} {
			caller := box(t, a)
			server := registered(t, node, "srv", &MailboxOptions{TrapExit: true})
			var last atomic.Pointer[Call]
			go func() {
				for m, err := range server.All(w.ctx()) {
					if err != nil || m.Payload == nil { // or it says that the link has broken
						return
					}
					c, ok := server.CallOf(m)
					if !ok {
						t.Errorf("no request: %v", m.Payload)
						return
					}
					assert.NoError(t, server.Link(w.ctx(), c.From))
					if err := server.Send(w.ctx(), c.From, ei.Tuple{ei.Atom("more"), c.Request}); err != nil {
						t.Error(err)
					}
					last.Store(c)
					assert.NoError(t, c.Reply(w.ctx(), ei.Tuple{c.From, c.Request}))
				}
			}()
			// concurrently with the calls
			first := async(func() (*Message, error) { return caller.Receive(w.ctx()) })
			for i := range 10 {
				require.Equal(t, ei.Tuple{caller.Pid(), ei.Int(i)}, of(caller.CallName(w.ctx(), node.Name(), "srv", i)).must(t))
			}
			v := of(caller.Call(w.ctx(), server.Pid(), "by pid")).must(t)
			require.Equal(t, ei.Tuple{caller.Pid(), ei.Binary("by pid")}, v)

			r := arrives(t, first, "what the server says besides")
			require.NoError(t, r.err)
			require.Equal(t, "{more,0}", r.v.Payload.String())
			for i := 1; i < 10; i++ {
				require.Equal(t, ei.Tuple{ei.Atom("more"), ei.Int(i)}, term(t, caller))
			}
			require.Equal(t, ei.Tuple{ei.Atom("more"), ei.Binary("by pid")}, term(t, caller))

			// A reply that no call waits for is dropped, whichever process sends it.
			undeliverable := a.Stats().Undeliverable
			require.NoError(t, server.Send(w.ctx(), last.Load().From, ei.Tuple{last.Load().tag, ei.Binary("again")}))
			require.NoError(t, server.Send(w.ctx(), last.Load().From, "behind it"))
			require.Equal(t, ei.Binary("behind it"), term(t, caller))
			require.Equal(t, undeliverable+1, a.Stats().Undeliverable)

			// The link is with the caller, and still there.
			require.NoError(t, caller.Close())
			_, err := caller.Call(w.ctx(), server.Pid(), "late")
			require.ErrorContains(t, err, caller.Err().Error())
			require.NoError(t, server.Close())
			require.Eventually(t, func() bool { return a.Stats().Mailboxes == 2 }, tooLong, tick, "net_kernel, rex")
		}
	})
}

// A mailbox that is full, since it is not read, still gets the replies to its calls.
func TestMailboxCallBesideFullMailbox(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	serve(t, b, "srv", newRecorder().server())
	caller := box(t, a, &MailboxOptions{Limit: 1})
	require.NoError(t, caller.Send(w.ctx(), caller.Pid(), "full"))
	require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Int(1)}, of(caller.CallName(w.ctx(), b.Name(), "srv", 1)).must(t))
}

// An answer that comes after its call is over is dropped, on the lower level, too, where all other
// messages without a process wait for Receive.
func TestLateAnswersOnLowerLevel(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.node("alice"), w.started("bob")
	calls := make(chan *Call, 1)
	serve(t, b, "srv", Server{Call: func(_ context.Context, c *Call) (any, error) { calls <- c; return NoReply, nil }})
	caller := box(t, a)
	for name, call := range map[string]func(ctx context.Context) (ei.Term, error){
		"of a node":    func(ctx context.Context) (ei.Term, error) { return a.CallName(ctx, b.Name(), "srv", 1) },
		"of a mailbox": func(ctx context.Context) (ei.Term, error) { return caller.CallName(ctx, b.Name(), "srv", 1) },
	} {
		for range 2 { // the second call reads what is left of the first
			ctx, cancel := context.WithCancel(w.ctx())
			called := async(func() (ei.Term, error) { return call(ctx) })
			late := <-calls
			cancel()
			require.ErrorIs(t, arrives(t, called, "the call's end").err, context.Canceled, name)
			require.NoError(t, late.Reply(w.ctx(), ei.Atom("late")))
		}
		require.NoError(t, b.Conn(a.Name()).SendName(w.ctx(), "x", ei.Atom("behind")))
		c := a.Conn(b.Name())
		m := receive(t, c)
		term, err := m.Term()
		require.NoError(t, err, name)
		require.Equal(t, ei.Atom("behind"), term, name)
		require.Zero(t, c.unread.len(), name)
	}
}

// A panicking is a Go value whose encoding panics.
type panicking struct{}

func (panicking) AppendTerm([]byte) ([]byte, error) { panic("a bug") }

// Nothing is left of a call that ends with a panic, or with its goroutine.
func TestMailboxCallLeavesNothing(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	handle(t, n, "h", func(*Mailbox, *Message) { runtime.Goexit() })
	b := box(t, n)
	before := n.Stats().Mailboxes
	require.Panics(t, func() { _, _ = b.CallName(soon(t), "alice@test", "net_kernel", panicking{}) })
	require.Zero(t, b.pendingCalls.Len())
	ended := make(chan int, 1)
	go func() {
		defer func() { ended <- 1 }()
		_, _ = b.CallName(soon(t), "alice@test", "h", ei.Atom("x"))
	}()
	arrives(t, ended, "the end of the goroutine")
	require.Zero(t, b.pendingCalls.Len())
	require.Equal(t, before-1, n.Stats().Mailboxes, "h has ended")
}
