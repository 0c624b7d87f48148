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

	"github.com/cnode-go/cnode/transport"
)

// Datagrams are UDP packets of the file, once for each end that is traced.
func TestTraceDatagramCapture(t *testing.T) {
	for _, family := range []string{"ipv4", "ipv6"} {
		t.Run(family, func(t *testing.T) {
			var file bytes.Buffer
			capture := NewCapture(&file)
			open, connected := udpPair(t, family)
			v, w := TraceDatagram(connected, TraceOptions{Capture: capture}), TraceDatagram(open, TraceOptions{Capture: capture})
			question := string(noise(1001))
			_, err := v.SendTo(soon(t), []byte(question), nil)
			require.NoError(t, err)
			_, _, err = w.RecvFrom(soon(t), make([]byte, 1000))
			require.ErrorIs(t, err, io.ErrShortBuffer)
			_, err = w.SendTo(soon(t), []byte("answer"), v.LocalAddr())
			require.NoError(t, err)
			requireReceives(t, v, "answer", w.LocalAddr())
			require.NoError(t, capture.Close())
			require.NoError(t, v.Close())
			all := dissect(t, file.Bytes())
			require.Len(t, all, 4)
			here, err := transport.AddrPort(v.LocalAddr())
			require.NoError(t, err)
			there, err := transport.AddrPort(w.LocalAddr())
			require.NoError(t, err)
			for i, want := range []string{question, question[:1000], "answer", "answer"} {
				require.Equal(t, want, string(all[i].data))
				require.Equal(t, "UDP", all[i].flags)
				require.WithinDuration(t, time.Now(), all[i].at, time.Minute)
				ends := []netip.AddrPort{here, there}
				require.Equal(t, ends[i/2], all[i].from)
				require.Equal(t, ends[1-i/2], all[i].to)
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
	v, w := TraceDatagram(one, TraceOptions{Capture: capture}), TraceDatagram(other, TraceOptions{Capture: capture})
	posts(t, v, "question", strings.Repeat("x", 70000))
	gets(t, w, "question")
	posts(t, w, "answer")
	require.NoError(t, capture.Close())
	all := dissect(t, file.Bytes())
	require.Len(t, all, 4)
	require.Equal(t, strings.Repeat("x", 65507), string(all[1].data))
	for _, d := range all {
		require.True(t, d.from.Addr().IsLoopback())
		require.GreaterOrEqual(t, d.from.Port(), uint16(49152))
	}
	require.Equal(t, all[0].from, all[2].from)
	require.Equal(t, all[0].from, all[3].to)
	require.NotEqual(t, all[0].from, all[0].to)
}

// A checksum of 0 would mean that there is none. See RFC 768.
func TestDatagramPacketChecksum(t *testing.T) {
	p := packet{from: netip.MustParseAddrPort("127.0.0.1:1"), to: netip.MustParseAddrPort("127.0.0.1:2"), udp: true, data: [][]byte{{0, 0}}}
	const ethernetHead = 14
	sum := func() []byte { return p.appendFrame(nil)[ethernetHead+ipv4Head+6:][:2] }
	p.data = [][]byte{sum()}
	require.Equal(t, []byte{0xff, 0xff}, sum())
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
	broken, err := FaultDatagram(one, FaultOptions{At: []FaultAt{{Kind: FaultRefuse, Write: true, Offset: 1}}})
	require.NoError(t, err)
	v := TraceDatagram(broken, TraceOptions{Log: log, Bytes: 3})
	posts(t, v, "hello")
	_, err = v.SendTo(soon(t), []byte("x"), nil)
	require.Error(t, err)
	posts(t, other, "well", "longer")
	gets(t, v, "well")
	_, _, err = v.RecvFrom(soon(t), make([]byte, 2))
	require.ErrorIs(t, err, io.ErrShortBuffer)
	_, _, err = v.RecvFrom(transport.NoWait(), make([]byte, 2))
	require.Error(t, err)
	require.NoError(t, v.Close())
	require.Equal(t, `level=DEBUG msg=opened local=memory:one remote=memory:other
level=DEBUG msg=sent bytes=5 to=memory:other data=68656c
level=DEBUG msg="send failed" error="injected refuse of datagram 1 of what was written: connection refused"
level=DEBUG msg=received bytes=4 from=memory:other cut=false data=77656c
level=DEBUG msg=received bytes=2 from=memory:other cut=true data=6c6f
level=DEBUG msg=closed
`, out.String())
}

// A capture that is closed takes no more datagrams, however many there are.
func TestTraceDatagramAfterCapture(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	require.NoError(t, capture.Close())
	size := file.Len()
	for range 10 {
		capture.datagram(time.Now(), loopback(), loopback(), make([]byte, 30_000))
	}
	require.Equal(t, size, file.Len())
}

// A packet is of one family, even if one of its ends has no inet address.
func TestTraceDatagramFamilies(t *testing.T) {
	six := transport.FromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:80"))
	var file bytes.Buffer
	capture := NewCapture(&file)
	at := time.Unix(1_000_000_000, 5)
	capture.datagram(at, six, transport.UnixAddr("/x"), []byte("to"))
	capture.datagram(at, transport.UnixAddr("/x"), six, []byte("from"))
	require.NoError(t, capture.Close())
	packets := dissect(t, file.Bytes())
	require.Len(t, packets, 2)
	require.Equal(t, packets[0].to, packets[1].from)
	require.Equal(t, "::ffff:127.0.0.1", packets[0].to.Addr().String())
	require.True(t, at.Equal(packets[1].at))
}
