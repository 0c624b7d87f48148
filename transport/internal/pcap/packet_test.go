package pcap

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// A checksum of 0 would mean that there is none. See RFC 768.
func TestChecksumOfUDP(t *testing.T) {
	p := Packet{From: netip.MustParseAddrPort("127.0.0.1:1"), To: netip.MustParseAddrPort("127.0.0.1:2"), UDP: true, Data: [][]byte{{0, 0}}}
	const ethernetHead = 14
	sum := func() []byte { return p.appendFrame(nil)[ethernetHead+ipv4Head+6:][:2] }
	p.Data = [][]byte{sum()}
	require.Equal(t, []byte{0xff, 0xff}, sum())
}
