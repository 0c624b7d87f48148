//go:build unix

package nodes

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/mapper"
)

// The name stays registered with its creation, at a port mapper elsewhere and at the embedded one,
// which moves along.
func TestUpgradePublished(t *testing.T) {
	ctx := soon(t)
	mapper := port.Vacant(t)
	for _, name := range []string{"embeds", "guest"} {
		cfg := Config{Name: name + "@127.0.0.1", Cookie: "secret", Resolver: &PortMapper{Client: epmd.Client{Addr: mapper}, Embed: true}}
		n := of(New(cfg)).must(t)
		require.NoError(t, n.Start(ctx))
		if name == "embeds" {
			defer func() { n.Close() }()
		}
		creation := n.Creation()
		client := &epmd.Client{Addr: mapper}
		for range 3 {
			f := freeze(t, n)
			defer f.Thaw()
			s := restore(t, cfg, f)
			require.NoError(t, s.Discard())
			f.Thaw()
			of(client.Resolve(ctx, "", name)).must(t)
			f = freeze(t, n)
			defer f.Thaw()
			s = restore(t, cfg, f)
			waits := async(func() (epmd.NodeInfo, error) { return client.Resolve(ctx, "", name) })
			require.NoError(t, f.Release())
			require.NoError(t, s.Start(ctx))
			require.NoError(t, (<-waits).err)
			n = s.Node()
			require.Equal(t, creation, n.Creation())
			_, err := client.Register(ctx, epmd.Registration{Name: name, Port: 1})
			require.ErrorIs(t, err, epmd.ErrNameTaken)
		}
		if name == "guest" {
			require.NoError(t, n.Close())
			_, err := client.Resolve(ctx, "", name)
			require.ErrorIs(t, err, epmd.ErrNotRegistered)
		}
	}
}

// If the registration of its name cannot be frozen the node goes on.
func TestFreezeFailsAtPortMapper(t *testing.T) {
	n := mapped(t, "embeds", port.Vacant(t), func(_ *Config, p *PortMapper) { p.Embed = true })
	ctx := soon(t)
	require.NoError(t, n.Start(ctx))
	name := freeze(t, n.publishing.published.(*mapper.Entry))
	_, err := n.Freeze(ctx)
	require.Error(t, err)
	name.Thaw()
	f, err := n.Freeze(ctx)
	require.NoError(t, err, "nothing of it still stands")
	f.Thaw()
}

// A lateResolver publishes once it is told to, whatever has become of the caller of Publish.
type lateResolver struct {
	Static
	asked, answers chan struct{}
	taken          atomic.Int32
}

func newLateResolver() *lateResolver {
	return &lateResolver{Static: Static{}, asked: make(chan struct{}, 1), answers: make(chan struct{}, 2)}
}

func (r *lateResolver) Publish(context.Context, Registration) (Publication, error) {
	r.asked <- struct{}{}
	<-r.answers
	return r, nil
}

func (r *lateResolver) Creation() uint32 { return 0 }
func (r *lateResolver) Close() error     { r.taken.Add(1); return nil }

// A registration that is made anew is closed again if the node has closed meanwhile.
func TestUpgradePublishedTooLate(t *testing.T) {
	w := newWorld(t, movers[0])
	r := newLateResolver()
	n := w.node("front", func(c *Config) { c.Resolver = r })
	r.answers <- struct{}{}
	require.NoError(t, n.Start(w.ctx()))
	<-r.asked
	f := freeze(t, n)
	s := restore(t, again(n), f)
	require.NoError(t, f.Release())
	started := async(func() (int, error) { return 0, s.Start(w.ctx()) })
	arrives(t, r.asked, "the second registration")
	closed := async(func() (int, error) { return 0, s.Node().Close() })
	arrives(t, s.Node().Done(), "the end of the node")
	r.answers <- struct{}{}
	require.ErrorIs(t, arrives(t, started, "Start").err, ErrClosed)
	require.NoError(t, arrives(t, closed, "Close").err)
	require.EqualValues(t, 1, r.taken.Load())
}
