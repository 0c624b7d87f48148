package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A node on several transports at once is reached over each, and is one node whichever way.
func TestSeveralTransports(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
	memory := transport.NewMemory()
	path := transport.UnixAddr(t.TempDir() + "/bob")
	endpoints := map[string]Endpoint{"alice": {Addr: b.Listeners()[0].Addr()}}
	for alive, at := range map[string]Endpoint{
		"carol": {Addr: path, Transport: transport.Unix()},
		"dave":  {Addr: transport.MemoryAddr("bob"), Transport: memory},
	} {
		l, err := b.ListenOn(w.ctx(), at.Transport, at.Addr)
		require.NoError(t, err)
		go func() {
			for {
				if _, err := l.Accept(context.Background()); err != nil {
					return
				}
			}
		}()
		endpoints[alive] = at
	}
	for alive, at := range endpoints {
		n := w.started(alive, func(cfg *Config) { cfg.Resolver = Static{"bob@test": at} })
		v, err := n.RPC(w.ctx(), "bob@test", "m", "echo", alive)
		require.NoError(t, err)
		require.Equal(t, ei.List{ei.Binary(alive)}, v)
		require.Equal(t, at.Addr.Network(), n.Conn("bob@test").Stream().RemoteAddr().Network())
	}
	require.Len(t, b.Peers(), 3)
	require.Len(t, b.Listeners(), 3)
}

// The old form of the handshake, for peers before OTP 23.
func TestVersion5(t *testing.T) {
	for _, kind := range kinds {
		w := newWorld(t, kind)
		b := w.started("bob")
		a := w.started("alice", func(cfg *Config) {
			cfg.Resolver = Static{"bob@test": {Addr: b.Listeners()[0].Addr(), Version5: true}}
		})
		c, err := a.Connect(w.ctx(), "bob@test")
		require.NoError(t, err)
		require.Equal(t, dist.Version5, c.Peer().Version)
		require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
		other := b.Conn("alice@test")
		require.Equal(t, dist.Version5, other.Peer().Version)
		require.Equal(t, a.Creation(), other.Peer().Creation)
		require.Equal(t, c.Peer().Flags, other.Peer().Flags)
		_, err = a.RPC(w.ctx(), "bob@test", "m", "f")
		var bad *RPCError
		require.ErrorAs(t, err, &bad)
	}
}
