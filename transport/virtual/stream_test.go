package virtual

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// overStreams are the virtual sockets over a single stream, with options that change nothing.
var overStreams = map[string]func(*transport.Stream) (*transport.Stream, error){
	"trace": func(s *transport.Stream) (*transport.Stream, error) {
		return TraceStream(s, TraceOptions{Log: slog.New(slog.DiscardHandler)})
	},
	"limit": func(s *transport.Stream) (*transport.Stream, error) { return LimitStream(s, LimitOptions{}) },
	"fault": func(s *transport.Stream) (*transport.Stream, error) { return FaultStream(s, FaultOptions{}) },
}

// What was read ahead of a stream that is taken over does not pass through the virtual socket.
func TestTakeOverReadAhead(t *testing.T) {
	for name, over := range map[string]func(*transport.Stream) (*transport.Stream, error){
		"trace": func(s *transport.Stream) (*transport.Stream, error) {
			return TraceStream(s, TraceOptions{Log: slog.New(failsAt{t})})
		},
		"limit": func(s *transport.Stream) (*transport.Stream, error) {
			return LimitStream(s, LimitOptions{Read: 1e-9, Burst: 1})
		},
		"fault": func(s *transport.Stream) (*transport.Stream, error) {
			return FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultReset}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			requireWrites(t, c, "abcdef")
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1)))) // and reads ahead
			taken := open(t)(over(s))
			require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ENOTCONN)
			require.Equal(t, 5, expect.NoError(taken.PendingBytes()).In(t))
			requireReads(t, taken, "bcdef")
		})
	}
}

// A failsAt is a log that may not say that anything was received.
type failsAt struct{ t testing.TB }

func (f failsAt) Enabled(context.Context, slog.Level) bool { return true }
func (f failsAt) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f failsAt) WithGroup(string) slog.Handler            { return f }
func (f failsAt) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "received" {
		f.t.Error("it is shown")
	}
	return nil
}

// A stream that cannot be taken over stays as it is.
func TestTakeOverRefused(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			require.NoError(t, s.PauseRead(soon(t)))
			require.ErrorIs(t, expect.Err(over(s)), transport.ErrPaused)
			s.Resume()
			requireWrites(t, c, "x")
			requireReads(t, s, "x")
			require.NoError(t, s.Close())
			require.ErrorIs(t, expect.Err(over(s)), net.ErrClosed)
		})
	}
}

// The system tells of a reset once. If that was a write, reading does not end in good order either.
func TestReadAfterWriteOfReset(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, transport.TCP(), loopback())
			requireWrites(t, s, "abc")
			requireReads(t, c, "a")
			c = open(t)(over(c))
			require.NoError(t, s.Abort())
			var err error
			for err == nil {
				err = expect.Err(c.Writev(soon(t), []byte("x")))
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Skip("the system says of a reset: ", err)
			}
			requireReads(t, c, "bc")
			for range 2 {
				require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
				require.ErrorIs(t, expect.Err(c.PendingBytes()), syscall.ECONNRESET)
			}
		})
	}
}

// An operation does not keep the buffers that it was given: otherwise an idle connection would hold
// on to its last packet.
func TestBuffersAreLetGo(t *testing.T) {
	const size = 64 << 10
	operations := map[string]func(t *testing.T, c, s *transport.Stream, b []byte) error{
		"Writev": func(t *testing.T, c, s *transport.Stream, b []byte) error {
			return expect.Err(c.Writev(soon(t), b[:1], b[1:]))
		},
		"Read": func(t *testing.T, c, s *transport.Stream, b []byte) error { return expect.Err(s.Readv(soon(t), b)) },
	}
	for name, over := range map[string]func(*transport.Stream) (*transport.Stream, error){
		"trace": overStreams["trace"], "fault": overStreams["fault"],
		"limit": func(s *transport.Stream) (*transport.Stream, error) {
			return LimitStream(s, LimitOptions{Write: 1 << 30, Burst: size / 2})
		},
	} {
		for operation, run := range operations {
			t.Run(name+operation, func(t *testing.T) {
				c, s := pair(t, transport.TCP(), loopback())
				c, s = open(t)(over(c)), open(t)(over(s))
				done := expect.Lent(size, func(b []byte) {
					if err := run(t, c, s, b); err != nil {
						t.Error(err)
					}
				})
				other, beside := c.Writev, make([]byte, size)
				if operation[0] != 'R' {
					other = s.Readv
				}
				require.NoError(t, expect.Err(other(soon(t), beside)))
				expect.LetGo(t, done)
			})
		}
	}
}

// A polls is a transport that knows its limit of polling.
type polls struct {
	transport.Transport
	limit time.Duration
}

func (p polls) WithPolling(limit time.Duration) transport.Transport { return polls{p.Transport, limit} }

// The limit of polling reaches the transport at the bottom, and the wrapper stays what it was.
func TestWithPolling(t *testing.T) {
	for name, over := range map[string]func(tr transport.Transport) transport.Transport{
		"trace": func(tr transport.Transport) transport.Transport { return Trace(tr, TraceOptions{}) },
		"limit": func(tr transport.Transport) transport.Transport { return Limit(tr, LimitOptions{}) },
		"fault": func(tr transport.Transport) transport.Transport { return Fault(tr, FaultOptions{}) },
	} {
		t.Run(name, func(t *testing.T) {
			below := func(tr transport.Transport) transport.Transport {
				if f, ok := tr.(*fault); ok {
					return f.below
				}
				return tr.(*wrapper).below
			}
			tr := over(polls{transport.TCP(), transport.DefaultPolling})
			with := transport.WithPolling(tr, time.Microsecond)
			if runtime.GOOS == "linux" {
				require.Equal(t, time.Microsecond, below(with).(polls).limit)
			}
			require.Equal(t, transport.DefaultPolling, below(tr).(polls).limit)
			c, s := pair(t, with, loopback())
			requireWrites(t, c, "x")
			requireReads(t, s, "x")
		})
	}
}

// A wrapper whose limit of polling is changed stays what it was.
func TestWithPollingKeepsTheWrapper(t *testing.T) {
	reset := Fault(transport.TCP(), FaultOptions{At: []FaultAt{{Kind: FaultReset, Side: FaultConnected, Write: true}}})
	c, _ := pair(t, transport.WithPolling(reset, 0), loopback())
	expect.As[*FaultError](t, expect.Err(c.Writev(soon(t), []byte("x"))))
	require.False(t, transport.WithPolling(Fault(transport.TCP(), FaultOptions{}), 0).Movable())
	require.True(t, transport.WithPolling(Trace(transport.TCP(), TraceOptions{}), 0).Movable() == transport.TCP().Movable())
}

func TestFaultStream(t *testing.T) {
	d := &diary{}
	c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
	c = open(t)(FaultStream(c, FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultSplit, Conn: 1, Side: FaultConnected, Write: true, Offset: 1},
		{Kind: FaultReset, Side: FaultConnected, Offset: 2},
	}}))
	s = open(t)(FaultStream(s, FaultOptions{Done: d.write, At: []FaultAt{{Kind: FaultSplit, Side: FaultAccepted, Write: true}}}))
	requireWrites(t, c, "ab")
	requireReads(t, s, "ab")
	requireWrites(t, s, "cde")
	requireReads(t, c, "cd")
	require.ErrorIs(t, expect.Err(c.Readv(soon(t), make([]byte, 1))), syscall.ECONNRESET)
	require.Equal(t, []string{"split at byte 1 of what was written on connection 1"}, d.of(FaultConnected, true))
	require.Equal(t, []string{"split at byte 0 of what was written on accepted connection 1"}, d.of(FaultAccepted, true))
	_, _, err := s.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "fault cannot be handed off")
}

// Faults of another stream are refused for a single stream.
func TestFaultStreamRefuses(t *testing.T) {
	c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
	for want, o := range map[string]FaultOptions{
		"reset is for another connection or side": {At: []FaultAt{{Kind: FaultReset, Conn: 2}}},
		"split is for another connection or side": {At: []FaultAt{{Kind: FaultSplit, Conn: -1}}},
		"delay is for another connection or side": {At: []FaultAt{{Kind: FaultDelay, Side: FaultAccepted}}},
		"join at byte 3 is for the other":         {At: []FaultAt{{Kind: FaultJoin, Write: true, Offset: 3}}},
		"short write at byte 0 is for the other":  {At: []FaultAt{{Kind: FaultShortWrite}}},
		"reset at byte -1, which never comes":     {At: []FaultAt{{Kind: FaultReset, Write: true, Offset: -1}}},
		"FaultKind(200)":                          {At: []FaultAt{{Kind: 200}}},
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

// A wrapper is around what an imported listener accepts, too.
func TestMovedListenerKeepsWrapper(t *testing.T) {
	l := expect.NoError(transport.TCP().Listen(loopback(), 0)).In(t)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	moved := expect.Open(Trace(transport.TCP(), TraceOptions{Log: log}).ImportListener(duplicateOf(t, l))).In(t)
	require.NoError(t, l.Release())
	c, _ := acceptOne(t, moved, func() (*transport.Stream, error) { return transport.TCP().Connect(soon(t), moved.Addr()) })
	require.Contains(t, out.String(), "msg=accepted")

	conn := duplicateOf(t, c)
	require.ErrorIs(t, expect.Err(Limit(transport.TCP(), LimitOptions{}).ImportListener(conn)), syscall.EINVAL)
	require.NoError(t, os.NewFile(uintptr(conn), "").Close(), "what is no listener is still ours")
}

// duplicateOf is the descriptor that another process would have been given.
func duplicateOf(t *testing.T, of interface{ Descriptor() (int, error) }) int {
	t.Helper()
	fd := expect.NoError(of.Descriptor()).In(t)
	return duplicateFD(t, fd)
}

// A read whose time is over leaves a write that waits alone: a carrier such as a tls.Conn does not
// live on after a write that was cut off.
func TestReadTimeoutLeavesWrite(t *testing.T) {
	for name, over := range overStreams {
		t.Run(name, func(t *testing.T) {
			begun, goOn := make(chan struct{}), make(chan struct{})
			tr := hooked(nil, func(next through, ctx context.Context, v [][]byte) (int64, error) {
				close(begun)
				select {
				case <-goOn:
					return next.write(ctx, v)
				case <-ctx.Done():
					return 0, syscall.EPIPE
				}
			})
			c, s := pair(t, tr, transport.MemoryAddr(""))
			c = open(t)(over(c))
			written := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), []byte("x"))) })
			<-begun
			for range 3 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), context.DeadlineExceeded)
				cancel()
			}
			close(goOn)
			require.NoError(t, expect.Returns(t, written))
			requireReads(t, s, "x")
		})
	}
}
