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
	first, err := packets.New(w.ctx(), bob.accept().S)
	require.NoError(t, err)
	_, err = protocol.ReadName(first)
	require.NoError(t, err)
	second, err := packets.New(w.ctx(), w.wire(n.Listeners()[0]).S)
	require.NoError(t, err)
	name, err := protocol.AppendName(nil, protocol.Name{Version: dist.Version6, Flags: dist.FlagsDefault, Creation: 5, Name: "evil@test"})
	require.NoError(t, err)
	require.NoError(t, second.WritePackets(name))
	_, err = second.ReadPacket()
	require.NoError(t, err)
	packet, err := second.ReadPacket()
	require.NoError(t, err)
	challenge, err := protocol.ParseChallenge(packet)
	require.NoError(t, err)
	challenge.Name = "bob@test"
	packet, err = protocol.AppendChallenge(nil, challenge)
	require.NoError(t, err)
	require.NoError(t, first.WritePackets([]byte("sok"), packet))
	require.ErrorIs(t, arrives(t, connected, "the end of Connect").err, dist.ErrReflected)
	require.NoError(t, second.WritePackets(protocol.AppendReply(nil, protocol.Reply{Challenge: 1})))
	_, err = second.ReadPacket()
	require.Error(t, err)
	require.Eventually(t, func() bool { return !n.handshakes.challenges.Has(challenge.Challenge) }, tooLong, tick)
}
