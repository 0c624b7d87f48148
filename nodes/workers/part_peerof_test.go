package workers

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// The peer's name is found behind a header of either size, and nowhere else.
func TestPeerOf(t *testing.T) {
	name := func(n protocol.Name) string {
		n.Version = dist.Version6
		b := of(protocol.AppendName(nil, n)).must(t)
		return string(b)
	}
	packet := func(size int, body string, claimed int) string {
		if size == 2 {
			return string(binary.BigEndian.AppendUint16(nil, uint16(claimed))) + body
		}
		return string(binary.BigEndian.AppendUint32(nil, uint32(claimed))) + body
	}
	peer := name(protocol.Name{Name: "peer@test", Flags: dist.FlagsDefault, Creation: 1})
	asks := name(protocol.Name{Name: "test", Flags: dist.FlagsDefault | dist.FlagNameMe, Creation: 1})
	for _, size := range []int{2, 4} {
		require.Equal(t, "peer@test", talk.PeerOf([]byte(packet(size, peer, len(peer)))))
		require.Equal(t, "peer@test", talk.PeerOf([]byte(packet(size, peer, len(peer))+"more that has come")))
		require.Empty(t, talk.PeerOf([]byte(packet(size, asks, len(asks)))), "it has no name yet")
		require.Empty(t, talk.PeerOf([]byte(packet(size, peer, len(peer)+1))))
		require.Empty(t, talk.PeerOf([]byte(packet(size, "", 0))))
		require.Empty(t, talk.PeerOf([]byte(packet(size, "what", 4))))
		for n := range 2 + size {
			require.Empty(t, talk.PeerOf([]byte(packet(size, peer, len(peer)))[:n]))
		}
	}
}
