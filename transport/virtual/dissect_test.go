package virtual

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A dissected is one packet of a capture file.
type dissected struct {
	at       time.Time
	from, to netip.AddrPort
	seq, ack uint32
	flags    string
	data     []byte
}

// dissect reads a pcap file as strictly as it can.
func dissect(t testing.TB, b []byte) (all []dissected) {
	t.Helper()
	require.Equal(t, "4d3cb2a1020004000000000000000000000004000"+"1000000", fmt.Sprintf("%x", b[:24]))
	for b = b[24:]; len(b) > 0; {
		require.GreaterOrEqual(t, len(b), 16)
		le := binary.LittleEndian
		d := dissected{at: time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:])))}
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
		d.from, d.to = address(pseudo[:half], segment), address(pseudo[half:], segment[2:])
		pseudo = be.AppendUint32(append(pseudo, 0, protocol), uint32(len(segment)))
		require.EqualValues(t, 0, sum16(append(pseudo, segment...)), "checksum")
		if protocol == 17 {
			require.EqualValues(t, len(segment), be.Uint16(segment[4:]))
			require.NotZero(t, be.Uint16(segment[6:]), "the checksum would mean none")
			d.flags, d.data = "UDP", segment[8:]
			all = append(all, d)
			continue
		}
		require.EqualValues(t, 6, protocol)
		require.EqualValues(t, 5<<4, segment[12])
		d.seq, d.ack, d.data = be.Uint32(segment[4:]), be.Uint32(segment[8:]), segment[20:]
		for i, name := range []string{"F", "S", "R", "P", "A"} {
			if segment[13]&(1<<i) != 0 {
				d.flags += name
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

// A talk is one TCP connection of a file, put together again.
type talk struct {
	flags  []string
	bytes  map[netip.AddrPort][]byte // by sender
	next   map[netip.AddrPort]uint32
	caller netip.AddrPort
}

// talks puts the connections of a file together: no byte may be missing, or be there twice.
func talks(t testing.TB, packets []dissected) (all []*talk) {
	t.Helper()
	open := map[[2]netip.AddrPort]*talk{}
	for i, d := range packets {
		if i > 0 {
			require.False(t, d.at.Before(packets[i-1].at.Add(-time.Minute)))
		}
		k := open[[2]netip.AddrPort{d.from, d.to}]
		if k == nil || d.flags == "S" {
			k = &talk{bytes: map[netip.AddrPort][]byte{}, next: map[netip.AddrPort]uint32{}, caller: d.from}
			open[[2]netip.AddrPort{d.from, d.to}], open[[2]netip.AddrPort{d.to, d.from}] = k, k
			all = append(all, k)
		}
		if next, ok := k.next[d.from]; ok {
			require.Equal(t, next, d.seq, "packet %d", i)
		}
		if strings.Contains(d.flags, "A") {
			require.Equal(t, k.next[d.to], d.ack, "packet %d", i)
		}
		k.next[d.from] = d.seq + uint32(len(d.data))
		if strings.ContainsAny(d.flags, "SF") {
			k.next[d.from]++
		}
		k.flags = append(k.flags, d.flags)
		k.bytes[d.from] = append(k.bytes[d.from], d.data...)
	}
	return all
}

// capturedOf writes pieces to a traced stream, and returns the data of the segments that its
// capture has of them.
func capturedOf(t *testing.T, pieces ...string) (segments []string) {
	t.Helper()
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, _ := tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
	for _, piece := range pieces {
		_, err := c.Writev(soon(t), []byte(piece))
		require.NoError(t, err)
	}
	require.NoError(t, capture.Close())
	for _, d := range dissect(t, file.Bytes()) {
		if len(d.data) > 0 {
			segments = append(segments, string(d.data))
		}
	}
	return segments
}

// said lists the flags and data of a file's packets, but for those that only acknowledge.
func said(t testing.TB, file *bytes.Buffer) (seen []string) {
	t.Helper()
	for _, d := range dissect(t, file.Bytes()) {
		if d.flags != "A" {
			seen = append(seen, d.flags+string(d.data))
		}
	}
	return seen
}
