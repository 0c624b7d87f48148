//go:build unix

package discovery

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A connection that has moved alone is not made anew, which would end it; it is the Keeper's again
// when it comes back.
func TestKeeperLeavesMovedConnection(t *testing.T) {
	table := nodes.Static{}
	begin := func(name string, worker uint16) *nodes.Node {
		at := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Creation: 4711, Worker: worker, Listen: at, Resolver: table})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(t.Context()))
		return n
	}
	b := begin("b@test", 0)
	table["b@test"] = nodes.Endpoint{Addr: b.Listeners()[0].Addr()}
	var a [2]*nodes.Node
	for i := range a {
		a[i] = begin("a@test", uint16(i))
	}
	heard := make(chan Peer, 100)
	hear := func(p Peer) { heard <- p }
	k := keep(t, a[0], List{"b@test"}, &Options{
		MinDelay: time.Millisecond, MaxDelay: time.Millisecond, OnConnected: hear, OnLost: hear, OnFailed: hear,
	})
	require.True(t, expect.Returns(t, heard).Up)
	require.Eventually(t, func() bool { return b.Stats().Connections == 1 }, expect.Limit, time.Millisecond)
	for range 2 {
		m, err := a[0].Conn("b@test").Detach(t.Context())
		require.NoError(t, err)
		lost := expect.Returns(t, heard)
		require.Equal(t, nodes.DownMoved, lost.Why)
		require.ErrorIs(t, lost.Err, nodes.ErrMoved)
		require.Zero(t, lost.Next)
		c, err := a[1].Adopt(t.Context(), m)
		require.NoError(t, err)
		require.False(t, k.Peers()[0].Up)
		require.EqualValues(t, 1, b.Stats().Connections)

		m, err = c.Detach(t.Context())
		require.NoError(t, err)
		_, err = a[0].Adopt(t.Context(), m)
		require.NoError(t, err)
		require.True(t, expect.Returns(t, heard).Up)
	}
	require.EqualValues(t, 1, b.Stats().Connections)
	require.Empty(t, heard)
}
