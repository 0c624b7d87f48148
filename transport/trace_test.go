package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

	"github.com/cnode-go/cnode/test/need"
	"github.com/stretchr/testify/require"
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

func TestTraceCapture(t *testing.T) {
	for _, tt := range []struct {
		name string
		tr   Transport
		at   Addr
	}{
		{"tcp", TCP(), loopback()},
		{"tcp over IPv6", TCP(), FromAddrPort(netip.MustParseAddrPort("[::1]:0"))},
		{"unix", Unix(), UnixAddr(filepath.Join(t.TempDir(), "s"))},
		{"memory", NewMemory(), MemoryAddr("")},
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
				var l *Listener
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
				accepted := make(chan *Stream, 1)
				done := aside(func() error {
					s, err := l.Accept(soon(t))
					accepted <- s
					return err
				})
				c, err := tr.Connect(soon(t), l.Addr())
				require.NoError(t, err)
				require.NoError(t, returns(t, done))
				s := <-accepted
				question, answer := noise(100_001), noise(50_000)
				done = aside(func() error {
					_, err := c.Writev(soon(t), question[:3], question[3:4], question[4:])
					return err
				})
				_, err = s.Readv(soon(t), make([]byte, len(question)))
				require.NoError(t, err)
				require.NoError(t, returns(t, done))
				done = aside(func() error {
					_, err := s.Writev(soon(t), answer)
					return err
				})
				_, err = c.Readv(soon(t), make([]byte, len(answer)))
				require.NoError(t, err)
				require.NoError(t, returns(t, done))
				if end == "connecting" {
					require.NoError(t, s.CloseWrite())
					_, err = c.Read(soon(t), make([]byte, 1))
					require.Equal(t, io.EOF, err)
				}
				require.NoError(t, c.Close())
				if end == "accepting" {
					_, err = s.Read(soon(t), make([]byte, 1))
					require.Equal(t, io.EOF, err)
				}
				require.NoError(t, s.Close())
				require.NoError(t, capture.Close())
				require.NoError(t, capture.Close())
				require.Equal(t, ErrCaptureClosed, capture.Flush())

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
					called, err := AddrPort(l.Addr())
					require.NoError(t, err)
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
	one := Trace(TCP(), TraceOptions{Capture: capture})
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

// An answer does not stand before its question, although the write of the question may come back after the answer was read.
func TestTraceOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held, read := make(chan struct{}), make(chan struct{})
		cb := memoryCallbacks()
		write := cb.Write
		cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
			n, err := write(s, p, tmo)
			if string(p) == "question" {
				close(held)
				<-read
			}
			return n, err
		}
		var file bytes.Buffer
		capture := NewCapture(&file)
		tr, err := New(cb, nil)
		require.NoError(t, err)
		c, s := pair(t, Trace(tr, TraceOptions{Capture: capture}), MemoryAddr(""))
		_ = s
		done := aside(func() error {
			_, err := c.Writev(soon(t), []byte("question"))
			return err
		})
		<-held
		_, err = s.Readv(soon(t), make([]byte, 8))
		require.NoError(t, err)
		_, err = s.Writev(soon(t), []byte("answer"))
		require.NoError(t, err)
		_, err = c.Readv(soon(t), make([]byte, 6))
		require.NoError(t, err)
		close(read)
		require.NoError(t, returns(t, done))
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

// After each of these what was read is in the file, in a bubble.
var catchUps = map[string]func(c *Capture) error{
	"Flush": (*Capture).Flush,
	"soon":  func(*Capture) error { time.Sleep(3 * captureDelay); return nil },
}

// What is read while a write is blocked is in the file after Flush, and also without it, soon. The write comes later, at a later time.
func TestCaptureBesideBlockedWrite(t *testing.T) {
	for name, catchUp := range catchUps {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var file bytes.Buffer
				capture := NewCapture(&file)
				c, s := tracedPair(t, NewMemory(), TraceOptions{Capture: capture})
				long := noise(2 * memoryWindow)
				sent := aside(func() error { return second(c.Writev(context.Background(), long)) })
				synctest.Wait()
				time.Sleep(time.Second)
				require.NoError(t, second(s.Writev(soon(t), []byte("meanwhile"))))
				requireReads(t, c, "meanwhile")
				require.NoError(t, s.CloseWrite())
				require.Equal(t, io.EOF, second(c.Read(soon(t), make([]byte, 1))))
				require.NoError(t, catchUp(capture))
				synctest.Wait()
				var seen []string
				for _, d := range dissect(t, file.Bytes())[3:] {
					if d.from.Port() == 4370 { // the peer
						seen = append(seen, d.flags+string(d.data))
					}
				}
				require.Equal(t, []string{"PAmeanwhile", "FA"}, seen)

				require.NoError(t, second(s.Readv(soon(t), make([]byte, len(long)))))
				require.NoError(t, <-sent)
				require.NoError(t, c.Close())
				require.NoError(t, capture.Close())
				packets := dissect(t, file.Bytes())
				require.True(t, slices.IsSortedFunc(packets, func(a, b dissected) int { return a.at.Compare(b.at) }))
				k := talks(t, packets)[0]
				require.Equal(t, long, k.bytes[k.caller])
			})
		})
	}
}

// Half of a handshake's packet is in the file after Flush, and also without it, soon; the packets after that one are segments of their own
// again.
func TestCaptureHalfOfHandshake(t *testing.T) {
	for name, catchUp := range catchUps {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var file bytes.Buffer
				capture := NewCapture(&file)
				c, s := tracedPair(t, NewMemory(), TraceOptions{Capture: capture})
				for _, part := range []string{"\x00\x05Na", "b", "cd\x00\x03so", "k\x00\x03", "sok"} {
					require.NoError(t, second(s.Writev(soon(t), []byte(part))))
					requireReads(t, c, part)
					if part != "k\x00\x03" {
						require.NoError(t, catchUp(capture))
						synctest.Wait()
					}
				}
				var seen []string
				for _, d := range dissect(t, file.Bytes())[3:] {
					seen = append(seen, string(d.data))
				}
				require.Equal(t, []string{"\x00\x05Na", "b", "cd", "\x00\x03so", "k", "\x00\x03sok"}, seen)
				require.NoError(t, c.Close())
				require.NoError(t, capture.Close())
				talks(t, dissect(t, file.Bytes()))
			})
		})
	}
}

// What is captured reaches the file without a Flush.
func TestTraceFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		capture := NewCapture(&file)
		c, s := pair(t, Trace(NewMemory(), TraceOptions{Capture: capture}), MemoryAddr(""))
		for _, text := range []string{"one", "two", "three", "four"} {
			_, err := c.Writev(context.Background(), []byte(text))
			require.NoError(t, err)
			requireReads(t, s, text)
			time.Sleep(2 * captureDelay)
			synctest.Wait()
			require.Equal(t, 2, strings.Count(file.String(), text), "at both ends")
			c, s = s, c
		}
		require.NoError(t, capture.Close())
		_, err := c.Writev(context.Background(), []byte("later"))
		require.NoError(t, err)
		time.Sleep(2 * captureDelay)
		require.NotContains(t, file.String(), "later")
	})
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A file that cannot be written does not disturb the connections.
func TestTraceFullDisk(t *testing.T) {
	capture := NewCapture(fullDisk{})
	c, s := pair(t, Trace(NewMemory(), TraceOptions{Capture: capture}), MemoryAddr(""))
	transferred(t, c, s, 1<<20)
	require.ErrorIs(t, capture.Flush(), syscall.ENOSPC)
	require.ErrorIs(t, capture.Close(), syscall.ENOSPC)
}

// A connection that breaks ends with RST.
func TestTraceReset(t *testing.T) {
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, s := pair(t, Trace(Fault(NewMemory(), FaultOptions{
		At: []FaultAt{{Kind: FaultReset, Side: FaultConnected, Offset: 2}},
	}), TraceOptions{Capture: capture}), MemoryAddr(""))
	_, err := s.Writev(soon(t), []byte("abc"))
	require.NoError(t, err)
	_, err = c.Readv(soon(t), make([]byte, 3))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	for _, k := range talks(t, dissect(t, file.Bytes())) {
		if k.flags[len(k.flags)-1] == "RA" {
			return
		}
	}
	t.Fatal("no RST")
}

// A packet of a handshake is one segment, however its bytes come.
func TestTraceHandshakeInPieces(t *testing.T) {
	const hello = "\x00\x05nabcd"
	for cut := 1; cut < len(hello); cut++ {
		require.Equal(t, []string{hello}, capturedOf(t, hello[:cut], hello[cut:]), cut)
	}
}

// Bytes that may begin a packet of a handshake wait for its rest, but not beyond the end of the connection, or of the capture.
func TestTraceUnfinishedHandshake(t *testing.T) {
	const sent, received = "\x00\x09nsent", "\x00\x0dnreceived"
	for name, end := range map[string]func(t *testing.T, c, s *Stream){
		"capture": func(t *testing.T, c, s *Stream) {},
		"closed":  func(t *testing.T, c, s *Stream) { require.NoError(t, c.Close()) },
		"reset": func(t *testing.T, c, s *Stream) {
			require.NoError(t, s.Close())
			_, err := c.Read(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			capture := NewCapture(&file)
			c, s := tracedPair(t, NewMemory(), TraceOptions{Capture: capture})
			_, err := c.Writev(soon(t), []byte(sent))
			require.NoError(t, err)
			_, err = s.Writev(soon(t), []byte(received))
			require.NoError(t, err)
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

// Bytes that are read during a write are in the file as they were read, however many they are, even if the capture ends before the write.
func TestTraceReadsBesideWrite(t *testing.T) {
	for _, first := range []string{"write", "capture"} {
		t.Run(first, func(t *testing.T) {
			held, goOn := make(chan struct{}), make(chan struct{})
			cb := memoryCallbacks()
			write := cb.Write
			cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
				if string(p) == "question" {
					close(held)
					<-goOn
				}
				return write(s, p, tmo)
			}
			tr, err := New(cb, nil)
			require.NoError(t, err)
			var file bytes.Buffer
			capture := NewCapture(&file)
			c, s := tracedPair(t, tr, TraceOptions{Capture: capture})
			asked := aside(func() error { _, err := c.Writev(soon(t), []byte("question")); return err })
			<-held
			answer := noise(maxWaiting + 100_000)
			answered := aside(func() error { _, err := s.Writev(soon(t), answer); return err })
			b := make([]byte, 1000)
			for got := 0; got < len(answer); {
				n, err := c.Read(soon(t), b)
				require.NoError(t, err)
				got += n
				clear(b)
			}
			require.NoError(t, returns(t, answered))
			if first == "capture" {
				require.NoError(t, capture.Close())
			}
			close(goOn)
			require.NoError(t, returns(t, asked))
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
	c, s := tracedPair(t, NewMemory(), TraceOptions{Capture: capture})
	require.NoError(t, c.CloseWrite())
	_, err := s.Writev(soon(t), []byte("later"))
	require.NoError(t, err)
	requireReads(t, c, "later")
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	var seen []string
	for _, d := range dissect(t, file.Bytes()) {
		if d.flags != "A" {
			seen = append(seen, d.flags+string(d.data))
		}
	}
	require.Equal(t, []string{"S", "SA", "FA", "PAlater"}, seen)
}

// CloseWrite may come during a write, of which a part is out: the end of the direction comes after that part.
func TestTraceHalfClosedBesideWrite(t *testing.T) {
	held, goOn := make(chan struct{}), make(chan struct{})
	cb := memoryCallbacks()
	write := cb.Write
	cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		n, err := write(s, p, tmo)
		close(held)
		<-goOn
		return n, err
	}
	tr, err := New(cb, nil)
	require.NoError(t, err)
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, _ := tracedPair(t, tr, TraceOptions{Capture: capture})
	sent := aside(func() error { return second(c.Writev(soon(t), []byte("the last"))) })
	<-held
	require.NoError(t, c.CloseWrite())
	close(goOn)
	require.NoError(t, returns(t, sent))
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	var seen []string
	for _, d := range dissect(t, file.Bytes()) {
		if d.flags != "A" {
			seen = append(seen, d.flags+string(d.data))
		}
	}
	require.Equal(t, []string{"S", "SA", "PAthe last", "FA"}, seen)
}

// Logging the end of a direction is no data race with a write.
func TestTraceLogsBesideWrite(t *testing.T) {
	ctx := soon(t)
	for range 20 { // a race shows only once in a few rounds
		c, s := tracedPair(t, NewMemory(), TraceOptions{Log: slog.New(silent{})})
		go func() { _, _ = io.Copy(io.Discard, NetConn(s)) }()
		begun := make(chan struct{})
		sent := aside(func() error {
			for i := 0; ; i++ {
				if _, err := c.Writev(ctx, []byte("x")); err != nil {
					return err
				}
				if i == 0 {
					close(begun)
				}
			}
		})
		<-begun
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, returns(t, sent), syscall.EPIPE)
	}
}

// silent is a handler that takes every record, and locks nothing.
type silent struct{ slog.Handler }

func (silent) Enabled(context.Context, slog.Level) bool  { return true }
func (silent) Handle(context.Context, slog.Record) error { return nil }
func (s silent) WithAttrs([]slog.Attr) slog.Handler      { return s }

func TestTraceBytes(t *testing.T) {
	for bytes, want := range map[int]int{0: 32, 5: 5, -1: 0} {
		require.Len(t, newTrace(TraceOptions{Bytes: bytes}).first([][]byte{make([]byte, 20), make([]byte, 20)}, 40), 2*want)
	}
}

func TestTraceLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "time" {
				return slog.Attr{}
			}
			return a
		}}))
	tr := NewMemory()
	l, err := tr.Listen(MemoryAddr("a"), 1)
	require.NoError(t, err)
	defer l.Close()
	c, err := Trace(tr, TraceOptions{Log: log, Bytes: 3}).Connect(soon(t), l.Addr())
	require.NoError(t, err)
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	_, err = c.Writev(soon(t), []byte("ab"))
	require.NoError(t, err)
	_, err = c.Writev(soon(t), []byte("cdef"))
	require.NoError(t, err)
	_, err = s.Writev(soon(t), []byte("xyz"))
	require.NoError(t, err)
	_, err = c.Readv(soon(t), make([]byte, 3))
	require.NoError(t, err)
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = c.Read(short, make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, c.CloseWrite())
	_, err = s.Readv(soon(t), make([]byte, 6))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = c.Read(soon(t), make([]byte, 1))
	require.Equal(t, io.EOF, err)
	_, err = c.Writev(soon(t), []byte("x"))
	require.Error(t, err)
	require.NoError(t, c.Close())
	require.Equal(t, `level=DEBUG msg=connected conn=1 local=memory:client-1 remote=memory:a
level=DEBUG msg=sent conn=1 bytes=2 offset=0 data=6162
level=DEBUG msg=sent conn=1 bytes=4 offset=2 data=636465
level=DEBUG msg=received conn=1 bytes=3 offset=0 data=78797a
level=DEBUG msg="closed for writing" conn=1 sent=6
level=DEBUG msg="end of stream" conn=1 offset=3
level=DEBUG msg="write failed" conn=1 error="broken pipe"
level=DEBUG msg=closed conn=1
`, out.String())
}

// tshark, where there is one, agrees with what we think the file says.
func TestTraceTshark(t *testing.T) {
	tshark := need.Program(t, "tshark")
	path := filepath.Join(t.TempDir(), "trace.pcap")
	file, err := os.Create(path)
	require.NoError(t, err)
	capture := NewCapture(file)
	c, s := pair(t, Trace(NewMemory(), TraceOptions{Capture: capture}), MemoryAddr(""))
	// A handshake and a message, cut as no dissector likes it. See erl_dist_protocol, "Distribution Handshake".
	say := func(from, to *Stream, parts ...string) {
		t.Helper()
		for _, part := range parts {
			_, err := from.Writev(soon(t), []byte(part))
			require.NoError(t, err)
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

// capturedOf writes pieces to a traced stream, and returns the data of the segments that its capture has of them.
func capturedOf(t *testing.T, pieces ...string) (segments []string) {
	t.Helper()
	var file bytes.Buffer
	capture := NewCapture(&file)
	c, _ := tracedPair(t, NewMemory(), TraceOptions{Capture: capture})
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
