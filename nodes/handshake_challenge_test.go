package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A peer to which a node connects, and which knows no cookie, cannot get the node to answer its own
// challenge.
func TestReflectedChallenge(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	bob := w.ambush("bob@test")
	connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), "bob@test") })
	first := of(packets.New(w.ctx(), bob.accept().S)).must(t)
	of(protocol.ReadName(first)).must(t)
	second := of(packets.New(w.ctx(), w.wire(n.Listeners()[0]).S)).must(t)
	name, err := protocol.AppendName(nil, protocol.Name{Version: dist.Version6, Flags: dist.FlagsDefault, Creation: 5, Name: "evil@test"})
	require.NoError(t, err)
	require.NoError(t, second.WritePackets(name))
	_, err = second.ReadPacket()
	require.NoError(t, err)
	packet := of(second.ReadPacket()).must(t)
	challenge := of(protocol.ParseChallenge(packet)).must(t)
	challenge.Name = "bob@test"
	packet = of(protocol.AppendChallenge(nil, challenge)).must(t)
	require.NoError(t, first.WritePackets([]byte("sok"), packet))
	require.ErrorIs(t, arrives(t, connected, "the end of Connect").err, dist.ErrReflected)
	require.NoError(t, second.WritePackets(protocol.AppendReply(nil, protocol.Reply{Challenge: 1})))
	_, err = second.ReadPacket()
	require.Error(t, err)
	require.Eventually(t, func() bool { return !n.handshakes.challenges.Has(challenge.Challenge) }, tooLong, tick)
}
