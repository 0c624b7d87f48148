package nodes

import (
	"context"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A node on several transports at once can be reached over each, and is one node over all of them.
func TestSeveralTransports(t *testing.T) {
	w := newWorld(t, "tcp")
	also := []Endpoint{
		{Addr: transport.UnixAddr(sockdir.New(t) + "/bob"), Transport: transport.Unix()},
		{Addr: transport.MemoryAddr("bob"), Transport: transport.NewMemory()},
		{Addr: transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))},
	}
	b := w.started("bob", func(cfg *Config) { cfg.Also = also })
	b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
	ls := b.Listeners()
	require.Len(t, ls, 4)
	endpoints := map[string]Endpoint{
		"alice": {Addr: ls[0].Addr()}, "carol": also[0], "dave": also[1], "erin": {Addr: ls[3].Addr()},
	}
	for alive, at := range endpoints {
		n := w.started(alive, func(cfg *Config) { cfg.Resolver = Static{"bob@test": at} })
		require.Equal(t, ei.List{ei.Binary(alive)}, of(n.RPC(w.ctx(), "bob@test", "m", "echo", alive)).must(t))
		require.Equal(t, at.Addr.Network(), n.Conn("bob@test").Stream().RemoteAddr().Network())
	}
	require.Len(t, b.Peers(), 4)
}

// Endpoints of Also that cannot work are refused before anything is open.
func TestAlsoRefusesBadEndpoints(t *testing.T) {
	w := newWorld(t, "tcp")
	_, err := New(Config{Name: "bob@test", Cookie: "x", Also: []Endpoint{{}}})
	require.ErrorContains(t, err, "Also[0]")
	taken := w.started("alice")
	b := w.node("bob", func(cfg *Config) { cfg.Also = []Endpoint{{Addr: taken.Listeners()[0].Addr()}} })
	require.ErrorIs(t, b.Start(w.ctx()), syscall.EADDRINUSE)
	require.Error(t, b.Err(), "a node that cannot listen everywhere does not listen anywhere")
}

// The old form of the handshake, for peers before OTP 23.
func TestVersion5Handshake(t *testing.T) {
	for _, kind := range kinds {
		w := newWorld(t, kind)
		b := w.started("bob")
		a := w.started("alice", func(cfg *Config) {
			cfg.Resolver = Static{"bob@test": {Addr: b.Listeners()[0].Addr(), Version5: true}}
		})
		c := connect(t, a, "bob@test")
		require.Equal(t, dist.Version5, c.Peer().Version)
		require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
		other := b.Conn("alice@test")
		require.Equal(t, dist.Version5, other.Peer().Version)
		require.Equal(t, a.Creation(), other.Peer().Creation)
		require.Equal(t, c.Peer().Flags, other.Peer().Flags)
		_, err := a.RPC(w.ctx(), "bob@test", "m", "f")
		var bad *RPCError
		require.ErrorAs(t, err, &bad)
	}
}
