// Package dissect reads pcap files in tests.
package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Packet is one packet of a capture file.
type Packet struct {
	At       time.Time
	From, To netip.AddrPort
	Seq, Ack uint32
	Flags    string
	Data     []byte
}

// Packets reads a pcap file as strictly as it can.
func Packets(t testing.TB, b []byte) (all []Packet) {
	t.Helper()
	require.Equal(t, "4d3cb2a1020004000000000000000000000004000"+"1000000", fmt.Sprintf("%x", b[:24]))
	for b = b[24:]; len(b) > 0; {
		require.GreaterOrEqual(t, len(b), 16)
		le := binary.LittleEndian
		d := Packet{At: time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:])))}
		n := le.Uint32(b[8:])
		require.Equal(t, n, le.Uint32(b[12:]))
		frame := b[16 : 16+n]
		b = b[16+n:]
		be := binary.BigEndian
		require.NotEqual(t, frame[:6], frame[6:12])
		ip := frame[14:]
		var pseudo, segment []byte
		var protocol byte
		switch be.Uint16(frame[12:]) {
		case 0x0800:
			require.EqualValues(t, 0x45, ip[0])
			require.EqualValues(t, len(ip), be.Uint16(ip[2:]))
			protocol = ip[9]
			require.EqualValues(t, 0, sum16(ip[:20]), "header checksum")
			pseudo, segment = slices.Clone(ip[12:20]), ip[20:]
		case 0x86dd:
			require.EqualValues(t, 6, ip[0]>>4)
			require.EqualValues(t, len(ip)-40, be.Uint16(ip[4:]))
			protocol = ip[6]
			pseudo, segment = slices.Clone(ip[8:40]), ip[40:]
		default:
			require.Fail(t, "neither IPv4 nor IPv6")
		}
		address := func(b []byte, port []byte) netip.AddrPort {
			a, ok := netip.AddrFromSlice(b)
			require.True(t, ok)
			return netip.AddrPortFrom(a, be.Uint16(port))
		}
		half := len(pseudo) / 2
		d.From, d.To = address(pseudo[:half], segment), address(pseudo[half:], segment[2:])
		pseudo = be.AppendUint32(append(pseudo, 0, protocol), uint32(len(segment)))
		require.EqualValues(t, 0, sum16(append(pseudo, segment...)), "checksum")
		if protocol == 17 {
			require.EqualValues(t, len(segment), be.Uint16(segment[4:]))
			require.NotZero(t, be.Uint16(segment[6:]), "the checksum would mean none")
			d.Flags, d.Data = "UDP", segment[8:]
			all = append(all, d)
			continue
		}
		require.EqualValues(t, 6, protocol)
		require.EqualValues(t, 5<<4, segment[12])
		d.Seq, d.Ack, d.Data = be.Uint32(segment[4:]), be.Uint32(segment[8:]), segment[20:]
		for i, name := range []string{"F", "S", "R", "P", "A"} {
			if segment[13]&(1<<i) != 0 {
				d.Flags += name
			}
		}
		all = append(all, d)
	}
	return all
}

// sum16 is 0 for bytes that include their own Internet checksum.
func sum16(b []byte) uint16 {
	var s uint64
	if len(b)%2 == 1 {
		b = append(slices.Clone(b), 0)
	}
	for ; len(b) > 0; b = b[2:] {
		s += uint64(binary.BigEndian.Uint16(b))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
