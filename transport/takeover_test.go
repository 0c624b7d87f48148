package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// overStreams are the virtual sockets over a single stream, with options that change nothing.
var overStreams = map[string]func(*Stream) (*Stream, error){
	"trace": func(s *Stream) (*Stream, error) {
		return TraceStream(s, TraceOptions{Log: slog.New(slog.DiscardHandler)})
	},
	"limit": func(s *Stream) (*Stream, error) { return LimitStream(s, LimitOptions{}) },
	"fault": func(s *Stream) (*Stream, error) { return FaultStream(s, FaultOptions{}) },
}

// open returns a new stream, which is closed at the end of the test.
func open(t testing.TB) func(*Stream, error) *Stream {
	return func(s *Stream, err error) *Stream {
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// A stream that is taken over goes on with what was read ahead; the old one is disconnected and closes nothing.
func TestTakeOver(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, NewMemory(), MemoryAddr(""))
			_, err := c.Writev(soon(t), []byte("abcdef"))
			require.NoError(t, err)
			_, err = s.Readv(soon(t), make([]byte, 1)) // and reads ahead
			require.NoError(t, err)
			taken := open(t)(over(s))
			require.Equal(t, s.RemoteAddr(), taken.RemoteAddr())
			require.Equal(t, s.LocalAddr(), taken.LocalAddr())

			_, err = s.Readv(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, syscall.ENOTCONN)
			_, err = s.Writev(soon(t), []byte("x"))
			require.ErrorIs(t, err, syscall.ENOTCONN)
			_, err = over(s)
			require.ErrorIs(t, err, syscall.ENOTCONN)
			pending, err := taken.PendingBytes()
			require.NoError(t, err)
			require.Equal(t, 5, pending)
			require.NoError(t, s.Close())

			b := make([]byte, 5)
			_, err = taken.Readv(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "bcdef", string(b))
			_, err = taken.Writev(soon(t), []byte("answer"))
			require.NoError(t, err)
			_, err = c.Readv(soon(t), make([]byte, 6))
			require.NoError(t, err)
			require.NoError(t, taken.Close())
			_, err = c.Read(soon(t), b)
			require.Equal(t, io.EOF, err)
		})
	}
}

// A stream that was disconnected, or taken over, reaches its socket no more: that may be another stream's.
func TestUseAfterDisconnect(t *testing.T) {
	uses := map[string]func(*Stream) error{
		"HandshakePacketHeaderSize": func(s *Stream) error { return second(s.HandshakePacketHeaderSize(soon(t))) },
		"CheckPeer":                 func(s *Stream) error { return s.CheckPeer(soon(t), "n@h") },
		"HandshakeComplete":         func(s *Stream) error { return s.HandshakeComplete(soon(t), true) },
		"PendingBytes":              func(s *Stream) error { return second(s.PendingBytes()) },
		"Descriptor":                func(s *Stream) error { return second(s.Descriptor()) },
		"SyscallConn":               func(s *Stream) error { return second(s.SyscallConn()) },
		"Unacknowledged":            func(s *Stream) error { return second(s.Unacknowledged()) },
		"CloseWrite":                (*Stream).CloseWrite,
		"PauseRead":                 func(s *Stream) error { return s.PauseRead(soon(t)) },
		"Readv":                     func(s *Stream) error { return second(s.Readv(soon(t), make([]byte, 1))) },
		"Writev":                    func(s *Stream) error { return second(s.Writev(soon(t), make([]byte, 1))) },
		"Post":                      func(s *Stream) error { return NewQueue(s, nil).Post(soon(t), []byte("x"), nil, 0) },
	}
	ends := map[string]func(*Stream) error{"Disconnect": (*Stream).Disconnect}
	for name, over := range overStreams {
		ends[name] = func(s *Stream) error { open(t)(over(s)); return nil }
	}
	for name, end := range ends {
		cb := memoryCallbacks()
		touched := func(*memorySocket) error { t.Error("a callback was called"); return nil }
		cb.ConnectHandshakeComplete = touched
		cb.CheckPeer = func(s *memorySocket, _ string) error { return touched(s) }
		cb.HandshakePacketHeaderSize = func(s *memorySocket) (int, error) { return 2, touched(s) }
		cb.CloseWrite = touched
		c, _ := memoryPair(t, cb)
		require.NoError(t, end(c), name)
		for use, f := range uses {
			err := f(c)
			var op *OpError
			require.ErrorAs(t, err, &op, "%s after %s", use, name)
			require.ErrorIs(t, err, syscall.ENOTCONN, "%s after %s", use, name)
		}
	}
}

// A stream that cannot be taken over stays as it is.
func TestTakeOverRefused(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := pair(t, NewMemory(), MemoryAddr(""))
				b := make([]byte, 1)
				read := aside(func() error { _, err := s.Readv(context.Background(), b); return err })
				synctest.Wait()
				_, err := over(s)
				require.ErrorIs(t, err, ErrBusy)
				_, err = c.Writev(context.Background(), []byte("x"))
				require.NoError(t, err)
				require.NoError(t, <-read)

				written := aside(func() error { _, err := c.Writev(context.Background(), make([]byte, 1<<20)); return err })
				synctest.Wait()
				_, err = over(c)
				require.ErrorIs(t, err, ErrBusy)
				_, err = s.Readv(context.Background(), make([]byte, 1<<20))
				require.NoError(t, err)
				require.NoError(t, <-written)

				require.NoError(t, s.PauseRead(context.Background()))
				_, err = over(s)
				require.ErrorIs(t, err, ErrPaused)
				s.Resume()

				require.NoError(t, s.Close())
				_, err = over(s)
				require.ErrorIs(t, err, net.ErrClosed)
			})
		})
	}
}

func TestFaultStream(t *testing.T) {
	d := &diary{}
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	c = open(t)(FaultStream(c, FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultCorrupt, Conn: 1, Side: FaultConnected, Write: true, Offset: 1},
		{Kind: FaultReset, Side: FaultConnected, Offset: 2},
	}}))
	s = open(t)(FaultStream(s, FaultOptions{Done: d.write, At: []FaultAt{{Kind: FaultCorrupt, Side: FaultAccepted, Write: true}}}))
	_, err := c.Writev(soon(t), []byte("ab"))
	require.NoError(t, err)
	b := make([]byte, 2)
	_, err = s.Readv(soon(t), b)
	require.NoError(t, err)
	require.Equal(t, "a\x9d", string(b))
	_, err = s.Writev(soon(t), []byte("cde"))
	require.NoError(t, err)
	_, err = c.Readv(soon(t), b)
	require.NoError(t, err)
	require.Equal(t, "\x9cd", string(b))
	_, err = c.Readv(soon(t), b)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, []string{"corrupt at byte 1 of what was written on connection 1"}, d.of(FaultConnected, true))
	require.Equal(t, []string{"corrupt at byte 0 of what was written on accepted connection 1"}, d.of(FaultAccepted, true))
	_, _, err = s.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "fault cannot be handed off")
}

// Faults that happen before there is a stream, or to another stream, are refused for a single stream.
func TestFaultStreamRefuses(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	for want, o := range map[string]FaultOptions{
		"reset is for another connection or side": {At: []FaultAt{{Kind: FaultReset, Conn: 2}}},
		"split is for another connection or side": {At: []FaultAt{{Kind: FaultSplit, Conn: -1}}},
		"delay is for another connection or side": {At: []FaultAt{{Kind: FaultDelay, Side: FaultAccepted}}},
		"join at byte 3 is for the other":         {At: []FaultAt{{Kind: FaultJoin, Write: true, Offset: 3}}},
		"short write at byte 0 is for the other":  {At: []FaultAt{{Kind: FaultShortWrite}}},
		"reset at byte -1, which never comes":     {At: []FaultAt{{Kind: FaultReset, Write: true, Offset: -1}}},
		"refuse":                                  {Refuse: 0.1},
		"abort":                                   {Abort: 1},
		"exhaust":                                 {Exhaust: 1},
		"FaultKind(200)":                          {At: []FaultAt{{Kind: 200}}},
		"refuse is no":                            {At: []FaultAt{{Kind: FaultRefuse, Conn: 1}}},
	} {
		_, err := FaultStream(c, o)
		require.ErrorIs(t, err, syscall.EINVAL)
		require.ErrorContains(t, err, want)
	}
	_, err := FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultReset, Side: FaultConnected}}})
	require.ErrorIs(t, err, syscall.EINVAL)
	_ = open(t)(FaultStream(c, GentleFaults(1)))
	_ = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultReset, Side: FaultAccepted, Conn: 1}}}))
}

func TestLimitStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, NewMemory(), MemoryAddr(""))
		c = open(t)(LimitStream(c, LimitOptions{Write: 1000, Burst: 100, Shared: true}))
		require.InDelta(t, 5, transferred(t, c, s, 5100).Seconds(), 0.1)
		s = open(t)(LimitStream(s, LimitOptions{Read: 100, Burst: 100}))
		time.Sleep(time.Hour)
		require.InDelta(t, 5, transferred(t, c, s, 600).Seconds(), 0.1)
		require.InDelta(t, 0, transferred(t, s, c, 6000).Seconds(), 0.01)
	})
}

// A single stream is traced as the streams of a Transport are: from its SYN if it is new.
func TestTraceStream(t *testing.T) {
	var file, log bytes.Buffer
	capture := NewCapture(&file)
	c, s := pair(t, TCP(), loopback())
	debug := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c = open(t)(TraceStream(c, TraceOptions{Capture: capture, Log: debug}))
	_, err := c.Writev(soon(t), []byte("question"))
	require.NoError(t, err)
	_, err = s.Readv(soon(t), make([]byte, 8))
	require.NoError(t, err)
	_, err = s.Writev(soon(t), []byte("answer"))
	require.NoError(t, err)
	_, err = c.Readv(soon(t), make([]byte, 6))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, capture.Close())
	all := talks(t, dissect(t, file.Bytes()))
	require.Len(t, all, 1)
	require.Equal(t, []string{"S", "SA", "A"}, all[0].flags[:3])
	require.Equal(t, "question", string(all[0].bytes[all[0].caller]))
	require.Contains(t, log.String(), `msg=connected conn=1`)
	require.Contains(t, log.String(), `msg=sent conn=1 bytes=8`)
	require.Contains(t, log.String(), `msg=received conn=1 bytes=6`)
}

// What had broken the stream is told of again by the one that has taken it over: the end that the system tells of then is none.
func TestTakeOverOfBrokenStream(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, NewMemory(), MemoryAddr(""))
			reset := error(syscall.ECONNRESET)
			s.broken.Store(&reset)
			taken := open(t)(over(s))
			require.NoError(t, c.Close())
			_, err := taken.Read(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}
