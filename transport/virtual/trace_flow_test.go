package virtual

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pcap"
)

// A stream that is handed off goes on in the file of its new owner, and does not end in that of the
// old one.
func TestTraceMoves(t *testing.T) {
	var files [2]bytes.Buffer
	captures := [2]*Capture{NewCapture(&files[0]), NewCapture(&files[1])}
	tr := Trace(transport.TCP(), TraceOptions{Capture: captures[1]})
	if !tr.Movable() {
		t.Skip("TCP cannot be handed off here")
	}
	c, s := pair(t, transport.TCP(), loopback())
	c = expect.NoError(TraceStream(c, TraceOptions{Capture: captures[0]})).In(t)
	requireWrites(t, c, "one ")
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 4))))
	state, _, err := c.Export()
	require.NoError(t, err)
	fd := expect.NoError(c.Descriptor()).In(t)
	moved := expect.NoError(tr.Import(duplicateFD(t, fd), state)).In(t)
	require.NoError(t, c.Release())
	require.Empty(t, captures[0].flows)
	requireWrites(t, moved, "two")
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 3))))
	require.NoError(t, moved.Close())
	for i, want := range [][]string{{"S", "SA", "PAone "}, {"PAtwo", "FA"}} {
		require.NoError(t, captures[i].Close())
		require.Equal(t, want, said(t, &files[i]))
	}
}

// tracedPair returns a pair of streams of which the connecting one alone is traced.
func tracedPair(t *testing.T, tr transport.Transport, o TraceOptions) (c, s *transport.Stream) {
	c, s = pair(t, tr, transport.MemoryAddr(""))
	c = expect.Open(TraceStream(c, o)).In(t)
	return c, s
}

// Connections without addresses of their own are told apart.
func TestTraceMadeUpPorts(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	for range 3 {
		tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
	}
	require.NoError(t, capture.Close())
	callers := map[netip.AddrPort]bool{}
	for _, k := range talks(t, dissect(t, file.Bytes())) {
		callers[k.caller] = true
	}
	require.Len(t, callers, 3)
}

// When all made-up ports have been used once, a port that is still in use is not given to another
// connection.
func TestTraceMadeUpPortsComeAgain(t *testing.T) {
	c := NewCapture(io.Discard)
	one := c.open(&traced{}, transport.MemoryAddr("a"), transport.MemoryAddr("b"), "connected")
	c.ends = pcap.Ports
	other := c.open(&traced{}, transport.MemoryAddr("a"), transport.MemoryAddr("b"), "connected")
	require.NotEqual(t, one.key, other.key)
	require.NoError(t, c.Close())
}

// A later connection between the same ends is none of the earlier one's packets again: tshark has
// nothing to say about it.
func TestTracePortsComeAgain(t *testing.T) {
	tshark := need.Program(t, "tshark")
	path := filepath.Join(t.TempDir(), "trace.pcap")
	file := expect.NoError(os.Create(path)).In(t)
	c := NewCapture(file)
	peer := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:4370"))
	for range 3 {
		end := &traced{}
		f := c.open(end, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:50000")), peer, "connected")
		f.sending(end, [][]byte{[]byte("hello")})
		f.sent(end, [][]byte{[]byte("hello")}, 5)
		f.received(end, []byte("hi"))
		f.close(end)
	}
	require.NoError(t, errors.Join(c.Close(), file.Close()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tshark, "-r", path, "-Y", "tcp.len == 5 && !tcp.analysis.retransmission",
		"-T", "fields", "-e", "tcp.stream").Output()
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2"}, strings.Fields(string(out)))
}

// A capture that is closed remembers no connection, neither those that it had nor those that come
// later.
func TestTraceClosedCaptureHoldsNothing(t *testing.T) {
	c := NewCapture(io.Discard)
	o := TraceOptions{Capture: c}
	before, _ := tracedPair(t, transport.NewMemory(), o)
	gone, _ := tracedPair(t, transport.NewMemory(), o)
	require.NoError(t, gone.Release())
	require.NoError(t, c.Close())
	require.Empty(t, c.flows)
	after, peer := tracedPair(t, transport.NewMemory(), o)
	requireWrites(t, after, "hello")
	require.NoError(t, expect.Err(peer.Readv(soon(t), make([]byte, 5))))
	require.Empty(t, c.flows)
	require.NoError(t, errors.Join(before.Close(), after.Release()))
}
