package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
)

func TestTraceCapture(t *testing.T) {
	for _, tt := range []struct {
		name string
		tr   transport.Transport
		at   transport.Addr
	}{
		{"tcp", transport.TCP(), loopback()},
		{"tcp over IPv6", transport.TCP(), transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0"))},
		{"unix", transport.Unix(), transport.UnixAddr(filepath.Join(sockdir.New(t), "s"))},
		{"memory", transport.NewMemory(), transport.MemoryAddr("")},
	} {
		for _, end := range []string{"connecting", "accepting"} {
			t.Run(tt.name+" "+end, func(t *testing.T) {
				if strings.Contains(tt.name, "IPv6") {
					need.IPv6(t)
				}
				var file bytes.Buffer
				capture := NewCapture(&file)
				tr := tt.tr
				traced := Trace(tr, TraceOptions{Capture: capture})
				var l *transport.Listener
				var err error
				if end == "accepting" {
					l, err = traced.Listen(tt.at, 0)
				} else {
					l, err = tr.Listen(tt.at, 0)
				}
				require.NoError(t, err)
				defer l.Close()
				if end == "connecting" {
					tr = traced
				}
				c, s := acceptOne(t, l, func() (*transport.Stream, error) { return tr.Connect(soon(t), l.Addr()) })
				question, answer := noise(100_001), noise(50_000)
				done := expect.Aside(func() error {
					return expect.Err(c.Writev(soon(t), question[:3], question[3:4], question[4:]))
				})
				require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(question)))))
				require.NoError(t, expect.Returns(t, done))
				done = expect.Aside(func() error { return expect.Err(s.Writev(soon(t), answer)) })
				require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, len(answer)))))
				require.NoError(t, expect.Returns(t, done))
				if end == "connecting" {
					require.NoError(t, s.CloseWrite())
					require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
				}
				require.NoError(t, c.Close())
				if end == "accepting" {
					require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
				}
				require.NoError(t, s.Close())
				require.NoError(t, capture.Close())
				require.NoError(t, capture.Close())
				require.NoError(t, capture.Flush())

				all := talks(t, dissect(t, file.Bytes()))
				require.Len(t, all, 1)
				k := all[0]
				require.Equal(t, []string{"S", "SA", "A", "PA"}, k.flags[:4])
				require.Equal(t, []string{"FA", "A", "FA", "A"}, k.flags[len(k.flags)-4:])
				for who, got := range k.bytes {
					if who == k.caller {
						require.Equal(t, question, got)
					} else {
						require.Equal(t, answer, got)
					}
				}
				if strings.Contains(tt.name, "tcp") {
					called := expect.NoError(transport.AddrPort(l.Addr())).In(t)
					require.Contains(t, k.bytes, called)
					require.NotEqual(t, called, k.caller)
				} else {
					require.Contains(t, k.bytes, netip.MustParseAddrPort("127.0.0.1:4370"))
					require.Equal(t, netip.MustParseAddrPort("127.0.0.1:49152"), k.caller)
				}
			})
		}
	}
}

// Many connections at once, both ends of each traced, are there once each, whole.
func TestTraceManyConnections(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	one := Trace(transport.TCP(), TraceOptions{Capture: capture})
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		c, s := pair(t, one, loopback())
		wg.Go(func() {
			for j := range 50 {
				if _, err := c.Writev(soon(t), fmt.Appendf(nil, "%2d asks %2d ", i, j)); err != nil {
					t.Error(err)
				}
				if _, err := c.Readv(soon(t), make([]byte, 10)); err != nil {
					t.Error(err)
				}
			}
			_ = c.Close()
		})
		wg.Go(func() {
			for j := range 50 {
				if _, err := s.Readv(soon(t), make([]byte, 11)); err != nil {
					t.Error(err)
				}
				if _, err := s.Writev(soon(t), fmt.Appendf(nil, "answer %2d ", j)); err != nil {
					t.Error(err)
				}
			}
			_ = s.Close()
		})
	}
	wg.Wait()
	require.Empty(t, capture.flows)
	require.NoError(t, capture.Close())
	all := talks(t, dissect(t, file.Bytes()))
	require.Len(t, all, n)
	for _, k := range all {
		for who, got := range k.bytes {
			if who == k.caller {
				require.Len(t, got, 50*11)
				require.Contains(t, string(got), " asks  0 ")
				require.Contains(t, string(got), " asks 49 ")
			} else {
				require.Len(t, got, 50*10)
			}
		}
	}
}

// An answer does not stand before its question, although the write of the question may come back
// after the answer was read.
func TestTraceOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held, read := make(chan struct{}), make(chan struct{})
		tr := hooked(nil, func(next through, ctx context.Context, v [][]byte) (int64, error) {
			n, err := next.write(ctx, v)
			if string(v[0]) == "question" {
				close(held)
				<-read
			}
			return n, err
		})
		var file bytes.Buffer
		capture := NewCapture(&file)
		c, s := pair(t, Trace(tr, TraceOptions{Capture: capture}), transport.MemoryAddr(""))
		_ = s
		done := expect.Aside(func() error { return expect.Err(c.Writev(soon(t), []byte("question"))) })
		<-held
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 8))))
		requireWrites(t, s, "answer")
		require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, 6))))
		close(read)
		require.NoError(t, expect.Returns(t, done))
		require.NoError(t, capture.Close())
		var texts []string
		for _, d := range dissect(t, file.Bytes()) {
			if len(d.data) > 0 && (d.from.Port() != 4370) == (string(d.data) == "question") {
				texts = append(texts, string(d.data))
			}
		}
		require.Equal(t, "question", texts[0])
		require.Contains(t, texts, "answer")
	})
}

// What is read while a long write is blocked is in the file at once. The write comes later, at a
// later time.
func TestCaptureBesideBlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := new(bytes.Buffer)
		capture := NewCapture(file)
		c, s := tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
		long := noise(2 * memoryWindow)
		sent := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), long)) })
		synctest.Wait()
		time.Sleep(time.Second)
		requireWrites(t, s, "meanwhile")
		requireReads(t, c, "meanwhile")
		require.NoError(t, s.CloseWrite())
		require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
		require.NoError(t, capture.Flush())
		var seen []string
		for _, d := range dissect(t, file.Bytes())[3:] {
			if d.from.Port() == 4370 { // the peer
				seen = append(seen, d.flags+string(d.data))
			}
		}
		require.Equal(t, []string{"PAmeanwhile", "FA"}, seen)

		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(long)))))
		require.NoError(t, <-sent)
		require.NoError(t, c.Close())
		require.NoError(t, capture.Close())
		packets := dissect(t, file.Bytes())
		require.True(t, slices.IsSortedFunc(packets, func(a, b dissected) int { return a.at.Compare(b.at) }))
		k := talks(t, packets)[0]
		require.Equal(t, long, k.bytes[k.caller])
	})
}

// What a short write has not got out is in the file where it is written again, as a retransmission.
func TestCaptureOfPartialWrite(t *testing.T) {
	for _, words := range []string{"some words", "\x00\x09nsome wor", "\x00\x03nab\x00\x04ncde"} {
		var file bytes.Buffer
		capture := NewCapture(&file)
		c, s := tracedPair(t, hooked(nil, func(next through, ctx context.Context, v [][]byte) (int64, error) {
			return next.write(ctx, cut(nil, v, 0, min(3, length(v))))
		}), TraceOptions{Capture: capture})
		requireWrites(t, c, words)
		requireReads(t, s, words)
		require.NoError(t, c.Close())
		require.NoError(t, capture.Close())
		at := map[uint32]byte{} // by sequence number
		var first uint32
		for _, d := range dissect(t, file.Bytes()) {
			if d.flags == "S" {
				first = d.seq + 1
			}
			for i, b := range d.data {
				at[d.seq+uint32(i)] = b
			}
			if d.flags == "FA" {
				require.Equal(t, first+uint32(len(words)), d.seq)
			}
		}
		require.Len(t, at, len(words))
		for i := range words {
			require.Equal(t, words[i], at[first+uint32(i)])
		}
	}
}

// The packets of a handshake are segments of their own. Flush writes what is there of one.
func TestCaptureHalfOfHandshake(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, s := tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
	for _, part := range []string{"\x00\x05Na", "b", "cd\x00\x03so", "k\x00\x03", "sok\x00\x07sha"} {
		requireWrites(t, s, part)
		requireReads(t, c, part)
	}
	require.NoError(t, capture.Flush())
	var seen []string
	for _, d := range dissect(t, file.Bytes())[3:] {
		seen = append(seen, string(d.data))
	}
	require.Equal(t, []string{"\x00\x05Nabcd", "\x00\x03sok", "\x00\x03sok", "\x00\x07sha"}, seen)
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	talks(t, dissect(t, file.Bytes()))
}

// What is captured reaches the file without a Flush.
func TestTraceFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		capture := NewCapture(&file)
		c, s := pair(t, Trace(transport.NewMemory(), TraceOptions{Capture: capture}), transport.MemoryAddr(""))
		for _, text := range []string{"one", "two", "three", "four"} {
			require.NoError(t, expect.Err(c.Writev(context.Background(), []byte(text))))
			requireReads(t, s, text)
			synctest.Wait()
			require.Equal(t, 2, strings.Count(file.String(), text), "at both ends")
			c, s = s, c
		}
		require.NoError(t, capture.Close())
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("later"))))
		require.NotContains(t, file.String(), "later")
	})
}

// A fullDisk has room for a number of writes.
type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room--; d.room == -1 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

// A file that cannot be written does not disturb the connections, and nothing is written behind
// the gap.
func TestTraceFullDisk(t *testing.T) {
	disk := &fullDisk{5}
	capture := NewCapture(disk)
	c, s := pair(t, Trace(transport.NewMemory(), TraceOptions{Capture: capture}), transport.MemoryAddr(""))
	transferred(t, c, s, 1<<20)
	for range 2 {
		require.ErrorIs(t, capture.Flush(), syscall.ENOSPC)
		require.ErrorIs(t, capture.Close(), syscall.ENOSPC)
	}
	require.Equal(t, -1, disk.room)
}

// A connection that breaks ends with RST.
func TestTraceReset(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, s := pair(t, Trace(Fault(transport.NewMemory(), FaultOptions{
		At: []FaultAt{{Kind: FaultReset, Side: FaultConnected, Offset: 2}},
	}), TraceOptions{Capture: capture}), transport.MemoryAddr(""))
	requireWrites(t, s, "abc")
	require.ErrorIs(t, expect.Err(c.Readv(soon(t), make([]byte, 3))), syscall.ECONNRESET)
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	for _, k := range talks(t, dissect(t, file.Bytes())) {
		if k.flags[len(k.flags)-1] == "RA" {
			return
		}
	}
	t.Fatal("no RST")
}

// A reset that Fault makes above Trace is shown as what it is below, and told of once.
func TestTraceResetFromAbove(t *testing.T) {
	fromNet := transport.FromNet(transport.Net{
		Listen: func(addr transport.Addr) (net.Listener, error) { return net.Listen("tcp", addr.String()) },
		Dial: func(ctx context.Context, addr transport.Addr) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		},
	})
	for _, tt := range []struct {
		name  string
		tr    transport.Transport
		at    transport.Addr
		reset bool // the carrier can do that
	}{
		{"tcp", transport.TCP(), loopback(), true},
		{"FromNet", fromNet, loopback(), true},
		{"unix", transport.Unix(), transport.UnixAddr(filepath.Join(sockdir.New(t), "s")), false},
		{"memory", transport.NewMemory(), transport.MemoryAddr(""), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var file, log bytes.Buffer
			capture := NewCapture(&file)
			l := expect.Open(tt.tr.Listen(tt.at, 0)).In(t)
			level := &slog.HandlerOptions{Level: slog.LevelDebug}
			traced := Trace(tt.tr, TraceOptions{Capture: capture, Log: slog.New(slog.NewTextHandler(&log, level))})
			faulty := Fault(traced, FaultOptions{At: []FaultAt{{Kind: FaultReset, Write: true, Offset: 5}}})
			c, s := acceptOne(t, l, func() (*transport.Stream, error) { return faulty.Connect(soon(t), l.Addr()) })
			require.ErrorIs(t, expect.Err(c.Writev(soon(t), []byte("0123456789"))), syscall.ECONNRESET)
			requireReads(t, s, "01234")
			flag, end, told := "FA", io.EOF, "closed"
			if tt.reset {
				flag, end, told = "RA", error(syscall.ECONNRESET), "reset"
			}
			require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), end)
			require.NoError(t, c.Close())
			require.NoError(t, capture.Close())
			k := talks(t, dissect(t, file.Bytes()))[0]
			require.Contains(t, k.flags, flag)
			require.Equal(t, 1, strings.Count(log.String(), "msg="+told))
			require.Equal(t, 1, strings.Count(log.String(), "msg=reset")+strings.Count(log.String(), "msg=closed"))
		})
	}
}

// A packet of a handshake is one segment, however its bytes come.
func TestTraceHandshakeInPieces(t *testing.T) {
	const hello = "\x00\x05nabcd"
	for cut := 1; cut < len(hello); cut++ {
		require.Equal(t, []string{hello}, capturedOf(t, hello[:cut], hello[cut:]), cut)
	}
}

// Bytes that may begin a packet of a handshake wait for its rest, but not beyond the end of the
// connection, or of the capture.
func TestTraceUnfinishedHandshake(t *testing.T) {
	const sent, received = "\x00\x09nsent", "\x00\x0dnreceived"
	for name, end := range map[string]func(t *testing.T, c, s *transport.Stream){
		"capture": func(t *testing.T, c, s *transport.Stream) {},
		"closed":  func(t *testing.T, c, s *transport.Stream) { require.NoError(t, c.Close()) },
		"reset": func(t *testing.T, c, s *transport.Stream) {
			require.NoError(t, s.Close())
			require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			capture := NewCapture(&file)
			c, s := tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
			requireWrites(t, c, sent)
			requireWrites(t, s, received)
			requireReads(t, c, received)
			end(t, c, s)
			require.NoError(t, capture.Close())
			all := talks(t, dissect(t, file.Bytes()))
			require.Len(t, all, 1)
			require.Len(t, all[0].bytes, 2)
			for who, got := range all[0].bytes {
				require.Equal(t, map[bool]string{true: sent, false: received}[who == all[0].caller], string(got))
			}
		})
	}
}

// Bytes that are read during a write are in the file as they were read, however many they are, even
// if the capture ends before the write.
func TestTraceReadsBesideWrite(t *testing.T) {
	for _, first := range []string{"write", "capture"} {
		t.Run(first, func(t *testing.T) {
			held, goOn := make(chan struct{}), make(chan struct{})
			tr := hooked(nil, func(next through, ctx context.Context, v [][]byte) (int64, error) {
				if string(v[0]) == "question" {
					close(held)
					<-goOn
				}
				return next.write(ctx, v)
			})
			var file bytes.Buffer
			capture := NewCapture(&file)
			c, s := tracedPair(t, tr, TraceOptions{Capture: capture})
			asked := expect.Aside(func() error { _, err := c.Writev(soon(t), []byte("question")); return err })
			<-held
			answer := noise(100_000)
			answered := expect.Aside(func() error { _, err := s.Writev(soon(t), answer); return err })
			b := make([]byte, 1000)
			for got := 0; got < len(answer); {
				n := expect.NoError(c.Read(soon(t), b)).In(t)
				got += n
				clear(b)
			}
			require.NoError(t, expect.Returns(t, answered))
			if first == "capture" {
				require.NoError(t, capture.Close())
			}
			close(goOn)
			require.NoError(t, expect.Returns(t, asked))
			require.NoError(t, capture.Close())
			all := talks(t, dissect(t, file.Bytes()))
			require.Len(t, all, 1)
			require.True(t, bytes.Equal(answer, all[0].bytes[netip.MustParseAddrPort("127.0.0.1:4370")]))
		})
	}
}

// The end of a direction is in the file in its place, and once.
func TestTraceHalfClosed(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, s := tracedPair(t, transport.NewMemory(), TraceOptions{Capture: capture})
	require.NoError(t, c.CloseWrite())
	requireWrites(t, s, "later")
	requireReads(t, c, "later")
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	require.Equal(t, []string{"S", "SA", "FA", "PAlater"}, said(t, &file))
}

// CloseWrite may come during a write, of which a part is out: the end of the direction comes after
// that part.
func TestTraceHalfClosedBesideWrite(t *testing.T) {
	held, goOn := make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(held) })
	tr := hooked(nil, func(next through, ctx context.Context, v [][]byte) (int64, error) {
		n, err := next.write(ctx, v)
		begun()
		<-goOn
		return n, err
	})
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, s := tracedPair(t, tr, TraceOptions{Capture: capture})
	sent := expect.Aside(func() error { return expect.Err(c.Writev(soon(t), []byte("the last"))) })
	<-held
	require.NoError(t, c.CloseWrite())
	close(goOn)
	require.NoError(t, expect.Returns(t, sent))
	requireWrites(t, s, "later")
	requireReads(t, c, "later")
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	require.Equal(t, []string{"S", "SA", "PAthe last", "FA", "PAlater"}, said(t, &file))
}

// tshark, where there is one, agrees with what we think the file says.
func TestTraceTshark(t *testing.T) {
	tshark := need.Program(t, "tshark")
	path := filepath.Join(t.TempDir(), "trace.pcap")
	file, err := os.Create(path)
	require.NoError(t, err)
	capture := NewCapture(file)
	c, s := pair(t, Trace(transport.NewMemory(), TraceOptions{Capture: capture}), transport.MemoryAddr(""))
	// A handshake and a message, cut as no dissector likes it. See erl_dist_protocol, "Distribution
	// Handshake".
	say := func(from, to *transport.Stream, parts ...string) {
		t.Helper()
		for _, part := range parts {
			requireWrites(t, from, part)
			_, err = to.Readv(soon(t), make([]byte, len(part)))
			require.NoError(t, err)
		}
	}
	const flags = "\x00\x00\x00\x0d\x07\xdf\x7f\xbd"
	digest := strings.Repeat("d", 16)
	say(c, s, "\x00", "\x14N"+flags, "\x00\x00\x00\x01\x00\x05a@b.c")
	say(s, c, "\x00\x03sok\x00\x18N"+flags+"\x01\x02\x03\x04\x00\x00\x00\x01\x00\x05d@e.f")
	say(c, s, "\x00\x15r\x01\x02\x03\x04"+digest[:5], digest[5:]+"\x00\x00\x00\x00")
	say(s, c, "\x00\x11a"+digest+"\x00\x00\x00\x00\x00\x00\x00\x12p\x83h\x03a\x02w\x00w\x03rex\x83w\x02hi")
	require.NoError(t, errors.Join(c.Close(), s.Close(), capture.Close(), file.Close()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tshark, "-r", path, "-d", "tcp.port==4370,erldp",
		"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-V").Output()
	require.NoError(t, err)
	text := string(out)
	for _, want := range []string{"a@b.c", "d@e.f", "Status: ok", "Challenge: 0x01020304", "Digest: 64646464", "AtomText: rex",
		"AtomText: hi"} {
		require.Contains(t, text, want)
	}
	for _, bad := range []string{"Malformed", "incorrect", "Retransmission", "Out-Of-Order", "unseen", "previous segment"} {
		require.NotContains(t, text, bad)
	}
}

// Data that is no handshake packet is not held back: it is in the file as it was written.
func TestTraceNoHandshake(t *testing.T) {
	for name, first := range map[string]string{
		"too long": "\x04\x01nab", "without a byte": "\x00\x00nab", "of no kind": "\x00\x09xab",
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, []string{first, "cd"}, capturedOf(t, first, "cd"))
		})
	}
}
