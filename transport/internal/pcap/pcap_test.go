package pcap

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A checksum of 0 would mean that there is none. See RFC 768.
func TestDatagramChecksumIsThere(t *testing.T) {
	p := Packet{From: netip.MustParseAddrPort("127.0.0.1:1"), To: netip.MustParseAddrPort("127.0.0.1:2"), UDP: true, Data: [][]byte{{0, 0}}}
	sum := func() []byte { return p.appendFrame(nil)[ethernetHead+ipv4Head+6:][:2] }
	p.Data = [][]byte{sum()}
	require.Equal(t, []byte{0xff, 0xff}, sum())
}

// fold adds 16-bit words as RFC 1071 has it, one by one; of a part with its checksum that is 0xffff.
func fold(b []byte) uint16 {
	var sum uint32
	for i, v := range b {
		if i%2 == 0 {
			sum += uint32(v) << 8
		} else {
			sum += uint32(v)
		}
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// Whatever is in a packet, its record says its length and the time, and its checksums are right.
func TestRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address, head := netip.MustParseAddr("127.0.0.1"), ipv4Head
		if rapid.Bool().Draw(t, "IPv6") {
			address, head = netip.MustParseAddr("2001:db8::17"), 40
		}
		end := func(what string) netip.AddrPort {
			return netip.AddrPortFrom(address, rapid.Uint16().Draw(t, what))
		}
		p := Packet{From: end("from"), To: end("to"), UDP: rapid.Bool().Draw(t, "UDP"), Seq: rapid.Uint32().Draw(t, "seq"), Ack: 7, Flags: PSH | ACK}
		var data []byte
		for range rapid.IntRange(0, 3).Draw(t, "pieces") {
			piece := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "piece")
			p.Data, data = append(p.Data, piece), append(data, piece...)
		}
		at := time.Unix(1_700_000_000, 123_456_789)
		b := p.AppendRecord([]byte("before"), at)
		require.Equal(t, "before", string(b[:6]))
		b = b[6:]
		require.EqualValues(t, at.Unix(), binary.LittleEndian.Uint32(b))
		require.EqualValues(t, at.Nanosecond(), binary.LittleEndian.Uint32(b[4:]))
		for _, i := range []int{8, 12} {
			require.EqualValues(t, len(b)-recordHead, binary.LittleEndian.Uint32(b[i:]))
		}
		ip := b[recordHead+ethernetHead:]
		protocol, over := byte(protocolTCP), tcpHead
		if p.UDP {
			protocol, over = protocolUDP, udpHead
		}
		segment := ip[head:]
		require.Len(t, segment, over+len(data))
		require.Equal(t, string(data), string(segment[over:]))
		if address.Is4() {
			require.EqualValues(t, 0xffff, fold(ip[:head]))
			require.EqualValues(t, len(ip), binary.BigEndian.Uint16(ip[2:]))
		} else {
			require.EqualValues(t, len(segment), binary.BigEndian.Uint16(ip[4:]))
		}
		a := address.AsSlice()
		pseudo := append(append(append([]byte(nil), a...), a...), 0, protocol, byte(len(segment)>>8), byte(len(segment)))
		require.EqualValues(t, 0xffff, fold(append(pseudo, segment...)))
	})
}
