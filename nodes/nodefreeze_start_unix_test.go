//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A freeze waits for a Start in progress, and what moves then is a started node.
func TestFreezeAwaitsStart(t *testing.T) {
	w := newWorld(t, movers[0])
	r := newLateResolver()
	n := w.node("front", func(c *Config) { c.Resolver = r })
	started := async(func() (any, error) { return nil, n.Start(w.ctx()) })
	arrives(t, r.asked, "the registration")
	_, err := n.Freeze(brief(t))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "a start is in progress")
	frozen := async(func() (*Frozen, error) { return n.Freeze(w.ctx()) })
	require.Eventually(t, n.life.Awaited, tooLong, tick)
	_, err = n.Freeze(w.ctx())
	require.ErrorIs(t, err, handoff.ErrBusy)
	require.False(t, n.Listeners()[0].stopped.IsShut(), "nothing stands still yet")
	r.answers <- struct{}{}
	require.NoError(t, arrives(t, started, "Start").err)
	f := arrives(t, frozen, "Freeze").must(t)

	s := restore(t, again(n), f)
	next := s.Node()
	again := async(func() (*Frozen, error) { return next.Freeze(w.ctx()) })
	require.NoError(t, f.Release())
	starts := async(func() (any, error) { return nil, s.Start(w.ctx()) })
	arrives(t, r.asked, "the second registration")
	require.Eventually(t, next.life.Awaited, tooLong, tick)
	r.answers <- struct{}{}
	require.NoError(t, arrives(t, starts, "Start of what was restored").err)
	arrives(t, again, "the second Freeze").must(t).Thaw()
	w.book.set("front@test", next.Listeners()[0].Addr())
	connect(t, w.node("alice"), "front@test")
	require.Zero(t, r.taken.Load())
}

// A freeze that has waited for a Start which fails, or for a node that is discarded before it
// starts, fails.
func TestFreezeAwaitsStartInVain(t *testing.T) {
	w := newWorld(t, movers[0])
	begun, goOn := make(chan struct{}), make(chan struct{})
	n := w.node("front", func(c *Config) { c.Setup = func(*Node) error { close(begun); <-goOn; return errFault } })
	started := async(func() (any, error) { return nil, n.Start(w.ctx()) })
	arrives(t, begun, "Setup")
	frozen := async(func() (*Frozen, error) { return n.Freeze(w.ctx()) })
	require.Eventually(t, n.life.Awaited, tooLong, tick)
	close(goOn)
	require.ErrorIs(t, arrives(t, started, "Start").err, errFault)
	require.ErrorIs(t, arrives(t, frozen, "Freeze").err, ErrClosed)

	n = w.started("another")
	f := freeze(t, n)
	defer f.Thaw()
	s := restore(t, again(n), f)
	frozen = async(func() (*Frozen, error) { return s.Node().Freeze(w.ctx()) })
	require.Eventually(t, s.Node().life.Awaited, tooLong, tick)
	require.NoError(t, s.Discard())
	require.ErrorIs(t, arrives(t, frozen, "Freeze").err, ErrMoved)
}

// A Start that is called while a freeze is in progress waits for its end.
func TestStartAwaitsFreeze(t *testing.T) {
	for _, moves := range []bool{false, true} {
		w := newWorld(t, movers[0])
		n := w.node("front")
		f := freeze(t, n)
		ctx, cancel := context.WithCancel(w.ctx())
		cancel()
		require.ErrorIs(t, n.Start(ctx), context.Canceled)
		require.NoError(t, n.Err(), "nothing has failed")
		started := async(func() (any, error) { return nil, n.Start(w.ctx()) })
		require.Eventually(t, n.life.Awaited, tooLong, tick)
		if moves {
			require.NoError(t, f.Release())
			require.ErrorIs(t, arrives(t, started, "Start").err, ErrMoved)
			require.ErrorIs(t, n.Start(w.ctx()), ErrMoved)
			continue
		}
		f.Thaw()
		require.NoError(t, arrives(t, started, "Start").err)
		require.Len(t, n.Listeners(), 1)
		f = of(n.Freeze(w.ctx())).must(t) // no start is in progress any more
		f.Thaw()
	}
}

// A Publish in progress when its node is frozen makes the name that of this process, or, if the
// node moves, nobody's: the next process may publish it then.
func TestPublishBesideFreeze(t *testing.T) {
	for _, moves := range []bool{false, true} {
		mapper, _ := portMapper(t, "127.0.0.1:0")
		ctx := soon(t)
		late := &latePortMapper{done: make(chan struct{}), goOn: make(chan struct{})}
		late.Client.Addr = mapper
		n := mapped(t, "alice", mapper, func(cfg *Config, _ *PortMapper) { cfg.Resolver = late })
		l := listen(t, n, n.listenAddr())
		published := async(func() (any, error) { return nil, n.Publish(ctx, l) })
		arrives(t, late.done, "the registration")
		f := freeze(t, n)
		close(late.goOn)
		require.Eventually(t, n.life.Awaited, tooLong, tick)
		client := epmd.Client{Addr: mapper}
		if !moves {
			f.Thaw()
			require.NoError(t, arrives(t, published, "Publish").err)
			require.Equal(t, n.Creation(), n.publishing.published.Creation())
			of(client.Resolve(ctx, "", "alice")).must(t)
			continue
		}
		cfg := again(n)
		cfg.Resolver = &late.PortMapper
		s := restore(t, cfg, f)
		next := s.Node()
		defer next.Close()
		require.NoError(t, f.Release())
		require.ErrorIs(t, arrives(t, published, "Publish").err, ErrMoved)
		_, err := client.Resolve(ctx, "", "alice")
		require.ErrorIs(t, err, epmd.ErrNotRegistered)
		require.NoError(t, s.Start(ctx))
		require.NoError(t, next.Publish(ctx, next.Listeners()[0]))
		require.NoError(t, n.Unpublish(context.Background()))
		require.NoError(t, n.Close())
		of(client.Resolve(ctx, "", "alice")).must(t)
	}
}

// A latePortMapper has registered a name for a while before it says so.
type latePortMapper struct {
	PortMapper
	done, goOn chan struct{}
}

func (p *latePortMapper) Publish(ctx context.Context, who Registration) (Publication, error) {
	made, err := p.PortMapper.Publish(ctx, who)
	close(p.done)
	<-p.goOn
	return made, err
}

// A Publish that waits for the end of a freeze gives up with its context, and takes the name back.
func TestPublishGivesUpBesideFreeze(t *testing.T) {
	w := newWorld(t, movers[0])
	r := newLateResolver()
	n := w.node("front", func(c *Config) { c.Resolver = r })
	l := listen(t, n, w.addr("front"))
	ctx, cancel := context.WithCancel(w.ctx())
	published := async(func() (any, error) { return nil, n.Publish(ctx, l) })
	arrives(t, r.asked, "the registration")
	f := freeze(t, n)
	defer f.Thaw()
	r.answers <- struct{}{}
	require.Eventually(t, n.life.Awaited, tooLong, tick)
	cancel()
	require.ErrorIs(t, arrives(t, published, "Publish").err, context.Canceled)
	require.EqualValues(t, 1, r.taken.Load())
}
