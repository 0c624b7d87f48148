package virtual

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dissector "github.com/cnode-go/cnode/internal/test/dissect"
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

func dissect(t testing.TB, b []byte) (all []dissected) {
	t.Helper()
	for _, p := range dissector.Packets(t, b) {
		all = append(all, dissected{p.At, p.From, p.To, p.Seq, p.Ack, p.Flags, p.Data})
	}
	return all
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
		requireWrites(t, c, piece)
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
