package nodes

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// loops are the ways to go through the numbers that come.
var loops = map[string]func(ctx context.Context, b *Mailbox, took func(n int)) error{
	"Messages": func(ctx context.Context, b *Mailbox, took func(int)) error {
		for n, err := range Messages[int](ctx, b) {
			if err != nil {
				return err
			}
			took(n)
		}
		return nil
	},
	"All": func(ctx context.Context, b *Mailbox, took func(int)) error {
		for m, err := range b.All(ctx) {
			if err != nil {
				return err
			}
			var n int
			if err := m.Payload.Unmarshal(&n); err != nil {
				return err
			}
			took(n)
		}
		return nil
	},
}

// A loop over messages in a function, for which Shutdown waits, ends when the node stops, after
// what has come. The function goes on to its end, and its result goes out.
func TestLoopsEndAsNodeStops(t *testing.T) {
	for name, loop := range loops {
		for _, in := range []string{"function", "server"} {
			for _, waits := range []bool{true, false} {
				t.Run(name+" in a "+in, func(t *testing.T) {
					w := newWorld(t, "memory")
					a, n := w.started("alice"), w.started("bob")
					begun, proceed := make(chan *Mailbox, 1), make(chan struct{})
					took := make(chan int, 3)
					sum := func(ctx context.Context, b *Mailbox) (any, error) {
						total := 0
						begun <- b
						err := loop(ctx, b, func(n int) {
							total += n
							took <- n
							if !waits {
								<-proceed
							}
						})
						return total, errors.Join(err, ctx.Err())
					}
					n.Expose("m", "sum", func(ctx context.Context, _ []ei.Term) (any, error) { return sum(ctx, MailboxOf(ctx)) })
					serve(t, n, "sum", Server{Call: func(ctx context.Context, _ *Call) (any, error) {
						b, err := n.NewMailbox(nil)
						if err != nil {
							return nil, err
						}
						return sum(ctx, b)
					}})
					called := async(func() (ei.Term, error) {
						if in == "server" {
							return a.CallName(w.ctx(), n.Name(), "sum", 1)
						}
						return a.RPC(w.ctx(), n.Name(), "m", "sum")
					})
					b := arrives(t, begun, "the function")
					from := box(t, a)
					for i := range 3 {
						require.NoError(t, from.Send(w.ctx(), b.Pid(), i+1))
					}
					arrives(t, took, "the first message")
					if waits { // for another one
						arrives(t, took, "the second message")
						arrives(t, took, "the third message")
					} else {
						require.Eventually(t, func() bool { return b.queued() == 2 }, tooLong, tick)
					}
					down := async(func() (int, error) { return 0, n.Shutdown(w.ctx()) })
					arrives(t, n.Stopping(), "the stop")
					if !waits {
						close(proceed)
					}
					require.Equal(t, ei.Int(6), arrives(t, called, "the result").must(t))
					require.NoError(t, arrives(t, down, "Shutdown").err)
				})
			}
		}
	}
}

// Who goes on to send does not keep a loop from its end.
func TestLoopEndsThoughMessagesCome(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	took := 0
	n.Expose("m", "loop", func(ctx context.Context, _ []ei.Term) (any, error) {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		if err := b.Send(ctx, b.Pid(), 0); err != nil {
			return nil, err
		}
		for range b.All(ctx) {
			if took++; took == 1 {
				go func() { _ = n.Shutdown(soon(t)) }()
				<-n.Stopping()
			}
			if err := b.Send(ctx, b.Pid(), took); err != nil || took > 10 {
				return took, err
			}
		}
		return took, nil
	})
	called := async(func() (ei.Term, error) { return n.RPC(soon(t), n.Name(), "m", "loop") })
	require.NoError(t, arrives(t, called, "the result").err)
	require.Equal(t, 2, took)
}
