//go:build unix

package nodes

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/transport/handoff"
)

// If something delays a freeze for too long, the connection stays here, as if nothing had happened.
func TestFreezeOverBudget(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true)
	release, entered := make(chan struct{}), make(chan struct{})
	got := make(chan *Message, 10)
	var once sync.Once
	handle(t, r.n[0], "slow", func(_ *Mailbox, m *Message) {
		once.Do(func() {
			close(entered)
			<-release
		})
		got <- m
	})
	b := box(t, peer)
	require.NoError(t, b.SendName(w.ctx(), "mover@test", "slow", 1))
	<-entered
	ctx := w.ctx()
	_, err := r.c.Detach(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, ctx.Err(), "it is the budget that was too short")
	short, cancel := context.WithTimeout(w.ctx(), 10*time.Millisecond)
	defer cancel()
	_, err = r.c.Freeze(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "peer@test")
	require.NoError(t, r.c.Err())
	close(release)
	require.NoError(t, b.SendName(w.ctx(), "mover@test", "slow", 2))
	arrives(t, got, "the first message")
	arrives(t, got, "the second")
	require.NoError(t, r.c.Send(w.ctx(), b.Pid(), "out"))
	receive(t, b)
	r.move()
}

// A connection is frozen when the functions that run for its peer, and those that wait for a place,
// have answered.
func TestFreezeAwaitsAnswers(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true, func(cfg *Config) { cfg.MaxCalls = 1 })
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	require.NoError(t, r.n[0].kernel.serve())
	r.n[0].Expose("m", "slow", func(context.Context, []ei.Term) (any, error) {
		entered <- struct{}{}
		<-release
		return 42, nil
	})
	answer := make(chan ei.Term, 2)
	for range cap(answer) {
		go func() {
			v, err := peer.RPC(w.ctx(), "mover@test", "m", "slow")
			if err == nil {
				answer <- v
			}
		}()
	}
	<-entered
	require.Eventually(t, func() bool { return r.c.works.Count() == 2 }, tooLong, tick)
	short, cancel := context.WithTimeout(w.ctx(), 10*time.Millisecond)
	defer cancel()
	_, err := r.c.Freeze(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "2 owe the peer an answer")
	frozen := make(chan error, 1)
	go func() {
		f, err := r.c.Freeze(w.ctx())
		if err == nil {
			f.Thaw()
		}
		frozen <- err
	}()
	close(release)
	require.NoError(t, arrives(t, frozen, "the end of the freeze"))
	for range cap(answer) {
		require.Equal(t, ei.Int(42), arrives(t, answer, "the answer"))
	}
}

// A function that waits for its caller's node gets what that node sends while the connection is
// being frozen.
func TestFreezeNeedsToRead(t *testing.T) {
	w := newWorld(t, "tcp")
	proceed := make(chan struct{})
	peer := w.started("peer")
	peer.Expose("m", "back", func(context.Context, []ei.Term) (any, error) {
		<-proceed
		return 42, nil
	})
	r := w.shuttle("peer@test", true)
	require.NoError(t, r.n[0].kernel.serve())
	entered := make(chan struct{})
	r.n[0].Expose("m", "there", func(ctx context.Context, _ []ei.Term) (any, error) {
		close(entered)
		return ConnOf(ctx).RPC(ctx, "m", "back")
	})
	answer := async(func() (ei.Term, error) { return peer.RPC(w.ctx(), "mover@test", "m", "there") })
	<-entered
	frozen := async(func() (handoff.Frozen, error) { return r.c.Freeze(w.ctx()) })
	require.Eventually(t, func() bool { return r.c.l.Life().Phase() == life.Draining }, tooLong, tick)
	close(proceed)
	f := arrives(t, frozen, "the end of the freeze")
	require.NoError(t, f.err)
	f.v.Thaw()
	a := arrives(t, answer, "the answer")
	require.NoError(t, a.err)
	require.Equal(t, ei.Int(42), a.v)
}

// A plug-in that cannot be handed over is refused by its name, before anything changes.
func TestFreezeRefused(t *testing.T) {
	w := newWorld(t, "memory")
	ca, _ := w.pair()
	_, err := ca.Detach(w.ctx())
	var not *NotMovableError
	require.ErrorAs(t, err, &not)
	require.Equal(t, "memory", not.Plugin)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "memory")
	require.NoError(t, ca.Err())
	require.True(t, ca.l.Life().IsOpen())

	w = newWorld(t, "tcp")
	w.tr = newSick(t, "", fails).transport() // a copy of TCP's callbacks
	ca, cb := w.pair(func(c *Config) { c.Transport = immovable(t) })
	_, err = ca.Freeze(w.ctx())
	require.ErrorAs(t, err, &not)
	require.Equal(t, "stuck", not.Plugin)
	require.NoError(t, ca.Send(w.ctx(), cb.Self(), 1))
}

// A node of which one connection is frozen, or held up, is not frozen: Config.Handover is not
// called then, nor is Config.Thawed, and all goes on.
func TestFreezeBesideFrozenConn(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	peer.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return 1, nil })
	var handed, thawed int
	n := w.started("front", func(c *Config) {
		c.Handover = func(context.Context) ([]byte, error) { handed++; return nil, nil }
		c.Thawed = func() { thawed++ }
	})
	c := connect(t, n, "peer@test")
	f := freeze(t, c)
	_, err := n.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	require.ErrorContains(t, err, "peer@test")
	require.Zero(t, handed)
	require.Zero(t, thawed)
	f.Thaw()
	of(n.RPC(w.ctx(), "peer@test", "m", "f")).must(t)

	whole := freeze(t, n)
	_, err = c.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	whole.Thaw()
	require.Equal(t, []int{1, 1}, []int{handed, thawed})
	of(n.RPC(w.ctx(), "peer@test", "m", "f")).must(t)
}

// A frozen connection that is to end does so when it is thawed.
func TestFreezeThaw(t *testing.T) {
	w := newWorld(t, "tcp")
	ca, cb := w.pair()
	f := freeze(t, ca)
	_, err := ca.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	closed := async(func() (any, error) { return nil, ca.Close() })
	sent := async(func() (any, error) { return nil, ca.Send(w.ctx(), cb.Self(), 1) })
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	require.ErrorIs(t, ca.Send(ctx, cb.Self(), 1), context.Canceled)
	select {
	case <-closed:
		require.Fail(t, "closed while frozen")
	case <-sent:
		require.Fail(t, "sent while frozen")
	case <-time.After(20 * time.Millisecond):
	}
	f.Thaw()
	f.Thaw()
	require.NoError(t, f.Release(), "too late")
	require.NoError(t, (<-closed).err)
	<-sent
	for err = nil; err == nil; {
		_, err = cb.Receive(w.ctx())
	}
	require.ErrorIs(t, err, io.EOF)
}
