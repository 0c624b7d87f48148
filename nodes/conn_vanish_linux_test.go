package nodes

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

// A peer whose machine or network has gone without a word is noticed even if the node does not read
// from it.
func TestPeerVanishesUnread(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	const interval = 100 * time.Millisecond
	at := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	node := func(name string) *Node {
		n, err := New(Config{Name: name + "@127.0.0.1", Cookie: "secret", TickInterval: interval, Listen: at, Resolver: Static{}})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(t.Context()))
		return n
	}
	alice, bob := node("alice"), node("bob")
	c := of(alice.ConnectAddr(t.Context(), bob.Listeners()[0].Addr(), "bob@127.0.0.1")).must(t)
	to, from := box(t, alice), box(t, bob)
	require.NoError(t, c.l.StopReading(t.Context()))
	defer c.l.ResumeReading()
	require.NoError(t, from.Send(t.Context(), to.Pid(), make([]byte, 1000)))
	require.Eventually(t, func() bool { n, err := c.l.Stream().PendingBytes(); return err == nil && n > 0 }, tooLong, tick, "nobody reads")
	ctx, cancel := context.WithTimeout(t.Context(), 10*link.MissedTicks*interval)
	defer cancel()
	select {
	case <-c.Done():
		t.Fatal("a live peer is given up: ", c.Err())
	case <-ctx.Done():
	}
	loopback(t, false)
	arrives(t, c.Done(), "the end of the connection")
	require.ErrorIs(t, c.Err(), ErrTickTimeout)
}
