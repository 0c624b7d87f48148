//go:build unix

package nodes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A slow server answers a request only when the test lets it.
type slow struct {
	entered chan struct{} // it handles a message
	proceed chan struct{}
}

func newSlow() *slow { return &slow{make(chan struct{}, 100), make(chan struct{})} }

func (s *slow) wait() {
	s.entered <- struct{}{}
	<-s.proceed
}

func (s *slow) server() Server {
	return Server{
		Call: func(_ context.Context, c *Call) (any, error) {
			s.wait()
			if c.Request == ei.Atom("panic") {
				panic("a bug")
			}
			return ei.Tuple{ei.Atom("ok"), c.Request}, nil
		},
		Cast: func(context.Context, ei.Term) { s.wait() },
		Info: func(context.Context, *Mailbox, *Message) { s.wait() },
	}
}

// arrived waits until a mailbox holds so many unread messages.
func (b *Mailbox) arrived(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.inbox.Len() == n
	}, tooLong, tick)
}

// A connection is frozen only when its peer's requests are answered: the one that a server or a
// function handles, and those that are still unread, or wait for a place.
func TestFreezeAwaitsAnswers(t *testing.T) {
	const calls = 5
	for what, call := range map[string]func(ctx context.Context, peer *Node, request any) (ei.Term, error){
		"server": func(ctx context.Context, peer *Node, request any) (ei.Term, error) {
			return peer.CallName(ctx, "mover@test", "srv", request)
		},
		"function": func(ctx context.Context, peer *Node, request any) (ei.Term, error) {
			return peer.RPC(ctx, "mover@test", "m", "f", request)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "tcp")
			peer := w.started("peer")
			r := w.shuttle("peer@test", true, func(cfg *Config) { cfg.MaxCalls = 1 })
			s := newSlow()
			elsewhere := Server{Call: func(context.Context, *Call) (any, error) { return "elsewhere", nil }}
			for i, srv := range []Server{s.server(), elsewhere} {
				serve(t, r.n[i], "srv", srv)
				require.NoError(t, r.n[i].kernel.serve())
				r.n[i].Expose("m", "f", func(ctx context.Context, args []ei.Term) (any, error) {
					return srv.Call(ctx, &Call{Request: args[0]})
				})
			}
			answers := make(chan result[ei.Term], calls)
			for i := range calls {
				go func() { answers <- of(call(w.ctx(), peer, i)) }()
			}
			<-s.entered
			for range 2 { // what the first one has waited for is not waited for twice
				// until it has found what is owed, and waits
				short := ctxWhile(t, func() bool { return r.c.works.Count() < calls || !r.c.works.Awaited() })
				_, err := r.c.Freeze(short)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, ErrDraining)
				require.ErrorContains(t, err, "5 owe the peer an answer")
				require.NoError(t, r.c.Err())
			}
			r.n[0].cfg.DrainTimeout = 10 * time.Millisecond
			_, err := r.c.Freeze(w.ctx())
			require.ErrorIs(t, err, context.DeadlineExceeded, "its own time is over")
			r.n[0].cfg.DrainTimeout = tooLong
			moved := async(func() (*Moved, error) { return r.c.Detach(w.ctx()) })
			for i := range calls {
				select {
				case <-moved:
					require.Fail(t, "moved with requests unanswered", "%d", calls-i)
				default:
				}
				s.proceed <- struct{}{}
			}
			m := arrives(t, moved, "the connection").must(t)
			require.Zero(t, r.c.works.Count())
			r.c = adopt(t, r.n[1], m)
			for range calls {
				a := arrives(t, answers, "the answer").must(t)
				require.Equal(t, ei.Atom("ok"), a.(ei.Tuple)[0])
			}
			require.Equal(t, ei.Binary("elsewhere"), of(call(w.ctx(), peer, "next")).must(t))
		})
	}
}

// A freeze does not wait for what is no request, for requests of this node, for those answered
// later, or for a server that has ended.
func TestFreezeAwaitsNothingElse(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true)
	from := box(t, peer)
	freeze := func(what string) {
		t.Helper()
		f, err := r.c.Freeze(w.ctx())
		require.NoError(t, err, what)
		f.Thaw()
		require.Zero(t, r.c.works.Count(), what)
	}

	casts := newSlow()
	b := serve(t, r.n[0], "casts", casts.server())
	cast := ei.Tuple{ei.Atom("$gen_cast"), ei.Atom("x")}
	for _, term := range []ei.Term{cast, ei.Atom("info"), cast} {
		require.NoError(t, from.SendName(w.ctx(), "mover@test", "casts", term))
	}
	own := async(func() (ei.Term, error) { return r.n[0].CallName(w.ctx(), "mover@test", "casts", 1) })
	<-casts.entered
	b.arrived(t, 3)
	freeze("casts, and a call of this node")
	close(casts.proceed)
	require.NoError(t, (<-own).err)

	rec := newRecorder()
	serve(t, r.n[0], "later", rec.server())
	later := async(func() (ei.Term, error) { return peer.CallName(w.ctx(), "mover@test", "later", ei.Atom("later")) })
	c := arrives(t, rec.later, "the request")
	freeze("a call that is answered later")
	require.NoError(t, c.Reply(w.ctx(), "now"))
	require.NoError(t, (<-later).err)

	ends := newSlow()
	b = serve(t, r.n[0], "ends", ends.server())
	died := make(chan error, 3)
	for range cap(died) {
		go func() {
			_, err := peer.CallName(w.ctx(), "mover@test", "ends", ei.Atom("panic"))
			died <- err
		}()
	}
	<-ends.entered
	b.arrived(t, 2)
	frozen := async(func() (handoff.Frozen, error) { return r.c.Freeze(w.ctx()) })
	require.Eventually(t, func() bool { return r.c.works.Count() == 3 }, tooLong, tick)
	close(ends.proceed)
	f := <-frozen
	require.NoError(t, f.err, "the server has ended, with requests unread")
	f.v.Thaw()
	for range cap(died) {
		require.Error(t, arrives(t, died, "the end of the call"))
	}
	require.Zero(t, r.c.works.Count())
}
