package virtual

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/dissect"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// Datagrams are UDP packets of the file, once for each end that is traced.
func TestTraceDatagramCapture(t *testing.T) {
	for _, family := range []string{"ipv4", "ipv6"} {
		t.Run(family, func(t *testing.T) {
			var file bytes.Buffer
			capture := NewCapture(&file)
			open, connected := udpPair(t, family)
			v, w := Trace(connected, TraceOptions{Capture: capture}), Trace(open, TraceOptions{Capture: capture})
			question := strings.Repeat("question", 126)[:1001]
			require.NoError(t, expect.Err(v.SendTo(soon(t), []byte(question), nil)))
			require.ErrorIs(t, expect.Err2(w.RecvFrom(soon(t), make([]byte, 1000))), io.ErrShortBuffer)
			require.NoError(t, expect.Err(w.SendTo(soon(t), []byte("answer"), v.LocalAddr())))
			requireReceives(t, v, "answer", w.LocalAddr())
			require.NoError(t, capture.Err())
			require.NoError(t, v.Close())
			all := dissect.Packets(t, file.Bytes())
			require.Len(t, all, 4)
			here := expect.NoError(transport.AddrPort(v.LocalAddr())).In(t)
			there := expect.NoError(transport.AddrPort(w.LocalAddr())).In(t)
			for i, want := range []string{question, question[:1000], "answer", "answer"} {
				require.Equal(t, want, string(all[i].Data))
				require.WithinDuration(t, time.Now(), all[i].At, time.Minute)
				ends := []netip.AddrPort{here, there}
				require.Equal(t, ends[i/2], all[i].From)
				require.Equal(t, ends[1-i/2], all[i].To)
			}
		})
	}
}

// Ends that are not inet ones are loopback ports, the same for the same name; a datagram too long
// for a UDP packet is cut.
func TestTraceDatagramNames(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	one, other := letterboxes()
	v, w := Trace(one, TraceOptions{Capture: capture}), Trace(other, TraceOptions{Capture: capture})
	posts(t, v, "question", strings.Repeat("x", 70000))
	gets(t, w, "question")
	posts(t, w, "answer")
	require.NoError(t, capture.Err())
	all := dissect.Packets(t, file.Bytes())
	require.Len(t, all, 4)
	require.Equal(t, strings.Repeat("x", 65507), string(all[1].Data))
	for _, d := range all {
		require.True(t, d.From.Addr().IsLoopback())
		require.GreaterOrEqual(t, d.From.Port(), uint16(49152))
	}
	require.Equal(t, all[0].From, all[2].From)
	require.Equal(t, all[0].From, all[3].To)
	require.NotEqual(t, all[0].From, all[0].To)
}

func TestTraceDatagramLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "time" {
				return slog.Attr{}
			}
			return a
		}}))
	one, other := letterboxes()
	broken := Fault(one, FaultOptions{At: []FaultAt{{Kind: FaultRefuse, Write: true, Offset: 1}}})
	v := Trace(broken, TraceOptions{Log: log, Bytes: 3})
	posts(t, v, "hello")
	require.Error(t, expect.Err(v.SendTo(soon(t), []byte("x"), nil)))
	posts(t, other, "well", "longer")
	gets(t, v, "well")
	require.ErrorIs(t, expect.Err2(v.RecvFrom(soon(t), make([]byte, 2))), io.ErrShortBuffer)
	require.Error(t, expect.Err2(v.RecvFrom(transport.NoWait(), make([]byte, 2))))
	require.NoError(t, v.Close())
	require.Equal(t, `level=DEBUG msg=opened local=memory:one remote=memory:other
level=DEBUG msg=sent bytes=5 to=memory:other data=68656c
level=DEBUG msg="send failed" error="injected refuse of datagram 1 of what was written: connection refused"
level=DEBUG msg=received bytes=4 from=memory:other cut=false data=77656c
level=DEBUG msg=received bytes=2 from=memory:other cut=true data=6c6f
level=DEBUG msg=closed
`, out.String())
}

// A packet is of one family, even if one of its ends has no inet address.
func TestTraceDatagramFamilies(t *testing.T) {
	six := transport.FromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:80"))
	var file bytes.Buffer
	capture := NewCapture(&file)
	at := time.Unix(1_000_000_000, 5)
	capture.datagram(at, six, transport.UnixAddr("/x"), []byte("to"))
	capture.datagram(at, transport.UnixAddr("/x"), six, []byte("from"))
	require.NoError(t, capture.Err())
	packets := dissect.Packets(t, file.Bytes())
	require.Len(t, packets, 2)
	require.Equal(t, packets[0].To, packets[1].From)
	require.Equal(t, "::ffff:127.0.0.1", packets[0].To.Addr().String())
	require.True(t, at.Equal(packets[1].At))
}
