package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// pair connects two streams over tr.
func pair(t testing.TB, tr Transport, at Addr) (client, server *Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	l := expect.NoError(tr.Listen(at, 0)).In(t)
	defer l.Close()
	type result struct {
		s   *Stream
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		s, err := l.Accept(ctx)
		accepted <- result{s, err}
	}()
	client = expect.NoError(tr.Connect(ctx, l.Addr())).In(t)
	r := <-accepted
	require.NoError(t, r.err)
	t.Cleanup(func() { client.Close(); r.s.Close() })
	return client, r.s
}

// pairOf connects two streams over changed callbacks, of TCP or in memory.
func pairOf[C any](t testing.TB, cb Callbacks[C]) (client, server *Stream) {
	t.Helper()
	tr := expect.NoError(New(cb, nil)).In(t)
	at := loopback()
	if _, ok := any(cb).(Callbacks[*memorySocket]); ok {
		at = MemoryAddr("")
	}
	return pair(t, tr, at)
}

func loopback() Addr { return FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")) }

// streamPairs runs a test over two streams of every carrier.
func streamPairs(t *testing.T, test func(t *testing.T, c, s *Stream)) {
	for name, over := range carriers(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, over.tr, over.at)
			test(t, c, s)
		})
	}
}

// within is a context of a short time.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// Once its context has ended an operation takes no byte, whether or not it would have had to wait:
// the bytes stay for the next operation.
func TestStreamEndedContext(t *testing.T) {
	past, late := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer late()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	next := func(b []byte) func() ([][]byte, error) {
		return func() (v [][]byte, _ error) {
			if b != nil {
				v, b = [][]byte{b}, nil
			}
			return v, nil
		}
	}
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		requireWrites(t, c, "1 ahead")
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
		require.EqualValues(t, 6, s.ahead.Load(), "has been read ahead")
		b := make([]byte, 2)
		for _, ctx := range []context.Context{past, gone} {
			for name, call := range map[string]func() error{
				"Read":    func() error { return expect.Err(s.Read(ctx, b)) },
				"Readv":   func() error { return expect.Err(s.Readv(ctx, b[:1], b[1:])) },
				"ReadPDU": func() error { return expect.Err(s.ReadPDU(ctx, next(b))) },
				"Writev":  func() error { return expect.Err(s.Writev(ctx, []byte("none"), []byte("at all"))) },
			} {
				require.ErrorIs(t, call(), ctx.Err(), name)
				require.Equal(t, []byte{0, 0}, b, name)
			}
		}
		for name, call := range map[string]func() error{
			"Read":    func() error { return expect.Err(s.Read(NoWait(), b)) },
			"Readv":   func() error { return expect.Err(s.Readv(NoWait(), b[:1], b[1:])) },
			"ReadPDU": func() error { return expect.Err(s.ReadPDU(NoWait(), next(b))) },
		} {
			require.NoError(t, call(), name)
			require.NotZero(t, b[0], name)
		}
		require.EqualValues(t, 0, s.ahead.Load())
		require.NoError(t, expect.Err(s.Writev(NoWait(), []byte("all"))))
		requireReads(t, c, "all")
	})
}

func TestStreamVectors(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		for i := range 100 {
			n := expect.NoError(c.Writev(soon(t), []byte("he"), nil, []byte("llo"))).In(t)
			require.EqualValues(t, 5, n)
			b := make([]byte, 5)
			n, err := s.Readv(soon(t), b[:1], nil, b[1:], b[5:])
			require.NoError(t, err, i)
			require.EqualValues(t, 5, n)
			require.Equal(t, "hello", string(b))
		}
		for _, ctx := range []context.Context{soon(t), NoWait(), context.Background()} {
			for _, v := range [][][]byte{nil, {}, {nil}, {{}, nil, {}}} {
				require.ErrorIs(t, expect.Err(s.Readv(ctx, v...)), syscall.EINVAL)
				require.ErrorIs(t, expect.Err(c.Writev(ctx, v...)), syscall.EINVAL)
			}
			require.ErrorIs(t, expect.Err(s.Read(ctx, nil)), syscall.EINVAL)
		}
	})
}

// A widest carrier notes the length of the longest vector that it is given.
type widest struct {
	carrier
	buffers int
}

func (c *widest) write(ctx context.Context, v [][]byte) (int64, error) {
	c.buffers = max(c.buffers, len(v))
	return c.carrier.write(ctx, v)
}

// However many buffers there are, no carrier goes through all of them for each call that it makes.
func TestStreamLongVectors(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	wide := &widest{carrier: c.car}
	c.car = wide
	want := noise(3*maxVector + 1)
	var v [][]byte
	for i := range want {
		v = append(v, want[i:i+1])
	}
	require.NoError(t, expect.Err(c.Writev(soon(t), v...)))
	got := make([]byte, len(want))
	require.NoError(t, expect.Err(s.Readv(soon(t), got)))
	require.Equal(t, want, got)
	require.Equal(t, maxVector, wide.buffers)
}

// Readv fills every buffer, however the bytes come.
func TestStreamReadvFills(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		const size, cut = 3*readAheadMin + 77, readAheadMin + 900
		sent := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		written := expect.Aside(func() error {
			for p := sent; len(p) > 0; {
				n := min(len(p), 1+len(p)%700)
				if _, err := c.Writev(context.Background(), p[:n]); err != nil {
					return err
				}
				p = p[n:]
			}
			return nil
		})
		got := make([]byte, size)
		n := expect.NoError(s.Readv(soon(t), got[:1], got[1:cut], got[cut:cut+1], got[cut+1:])).In(t)
		require.EqualValues(t, size, n)
		require.True(t, bytes.Equal(sent, got))
		require.NoError(t, expect.Returns(t, written))
	})
}

func TestStreamBusy(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		b := make([]byte, 4)
		read := expect.Aside(func() error { _, err := s.Readv(context.Background(), b); return err })
		require.Eventually(t, s.reading.Load, tooLong, 100*time.Microsecond)
		require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), ErrBusy)
		require.ErrorIs(t, expect.Err(s.Readv(soon(t), make([]byte, 1))), ErrBusy)
		_, err := s.ReadPDU(soon(t), func() ([][]byte, error) { return nil, errors.New("was asked") })
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, s.Disconnect(), ErrBusy)
		require.ErrorIs(t, s.Preload([]byte("x")), ErrBusy)
		require.ErrorIs(t, expect.Err2(s.Export()), ErrBusy)
		requireWrites(t, c, "done")
		require.NoError(t, expect.Returns(t, read), "the first one completes")
		require.Equal(t, "done", string(b))

		big := make([]byte, 32<<20)
		write := expect.Aside(func() error { _, err := c.Writev(context.Background(), big); return err })
		require.Eventually(t, c.writing.Load, tooLong, 100*time.Microsecond)
		require.ErrorIs(t, expect.Err(c.Writev(soon(t), []byte("x"))), ErrBusy)
		require.ErrorIs(t, c.Disconnect(), ErrBusy)
		require.ErrorIs(t, expect.Err2(c.Export()), ErrBusy)
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(big)))))
		require.NoError(t, expect.Returns(t, write))
		require.NoError(t, c.Disconnect())
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
	})
}

func TestStreamEndOfStream(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		requireWrites(t, c, "abc")
		require.NoError(t, c.Close())
		b := make([]byte, 5)
		n, err := s.Readv(soon(t), b[:2], b[2:])
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 3, n)
		require.Equal(t, "abc", string(b[:3]))
		for range 2 {
			n, err = s.Readv(soon(t), b)
			require.Equal(t, io.EOF, err, "not wrapped")
			require.Zero(t, n)
			require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), b)))
			_, err = s.ReadPDU(soon(t), func() ([][]byte, error) { return [][]byte{b}, nil })
			require.Equal(t, io.EOF, err)
		}
	})
}

// A read that is cancelled keeps what it has read for the next one, of whatever size.
func TestStreamCancelledRead(t *testing.T) {
	for _, size := range []int{10, readAheadMin + 1000, 3 * readAheadMax} {
		streamPairs(t, func(t *testing.T, c, s *Stream) {
			sent := bytes.Repeat([]byte("0123456789"), size/10)
			half := len(sent) / 2
			first := expect.Aside(func() error { _, err := c.Writev(context.Background(), sent[:half]); return err })
			for range 3 {
				n, err := s.Readv(within(t, 10*time.Millisecond), make([]byte, 3), make([]byte, len(sent)-3))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Zero(t, n, "nothing is the caller's")
			}
			second := expect.Aside(func() error {
				if err := <-first; err != nil {
					return err
				}
				return expect.Err(c.Writev(context.Background(), sent[half:]))
			})
			got := make([]byte, len(sent))
			require.Equal(t, 1, expect.NoError(s.Read(soon(t), got[:1])).In(t))
			require.NoError(t, expect.Err(s.Readv(soon(t), got[1:])))
			require.True(t, bytes.Equal(sent, got))
			require.NoError(t, expect.Returns(t, second))
		})
	}
}

// A cancelled write with part of it out poisons the stream: no later write may go out. Reading goes
// on.
func TestStreamPoisoned(t *testing.T) {
	for name, over := range carriers(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, over.tr, over.at)
			big := make([]byte, 64<<20)
			ctx, cancel := context.WithCancel(context.Background())
			var n int64
			written := expect.Aside(func() (err error) { n, err = c.Writev(ctx, big); return err })
			first := make([]byte, 1)
			_, err := s.Readv(soon(t), first)
			require.NoError(t, err)
			cancel()
			require.ErrorIs(t, expect.Returns(t, written), context.Canceled)
			require.Positive(t, n)
			require.Less(t, n, int64(len(big)))
			for range 2 {
				_, err = c.Writev(soon(t), []byte("x"))
				require.ErrorIs(t, err, ErrPoisoned)
			}
			requireWrites(t, s, "y")
			requireReads(t, c, "y")
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, n-1))), "what was counted has come")
			_, err = s.Read(within(t, time.Millisecond), make([]byte, 1))
			require.ErrorIs(t, err, context.DeadlineExceeded, "and no more")
		})
	}
}

func TestStreamPendingBytes(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "memory"} {
		over := carriers(t)[name]
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, over.tr, over.at)
			pending := func(want int) {
				t.Helper()
				require.Eventually(t, func() bool {
					n := expect.NoError(s.PendingBytes()).In(t)
					return n == want
				}, tooLong, time.Millisecond)
			}
			pending(0)
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 100))))
			pending(100) // in the kernel
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 30))))
			pending(70) // read ahead
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 50))))
			pending(120) // both
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 120))))
			pending(0)

			require.NoError(t, s.Preload([]byte("taken")))
			pending(5)
			read := expect.Aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 6)); return err })
			pending(0) // the read beside has taken them
			requireWrites(t, c, "x")
			require.NoError(t, expect.Returns(t, read))

			read = expect.Aside(func() error { _, err := s.Read(context.Background(), make([]byte, 1)); return err })
			pending(0) // beside a read
			require.NoError(t, s.Close())
			require.ErrorIs(t, expect.Returns(t, read), net.ErrClosed)
			require.ErrorIs(t, expect.Err(s.PendingBytes()), net.ErrClosed)
		})
	}
}

func TestStreamPreload(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		requireWrites(t, c, "5678")
		b := make([]byte, 1)
		require.NoError(t, expect.Err(s.Readv(soon(t), b)))
		require.NoError(t, s.Preload(b))
		before := expect.NoError(s.PendingBytes()).In(t)
		require.NoError(t, s.Preload([]byte("1234")))
		require.NoError(t, s.Preload(nil))
		after := expect.NoError(s.PendingBytes()).In(t)
		require.GreaterOrEqual(t, after, before+4)
		requireReads(t, s, "12345678")
	})
}

// What is derived from NoWait is a single try as well, until it is cancelled.
func TestNoWaitDerived(t *testing.T) {
	type key struct{}
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		cancelled, cancel := context.WithCancel(NoWait())
		cancel()
		live, end := context.WithCancel(NoWait())
		defer end()
		long, stop := context.WithTimeout(NoWait(), time.Hour)
		defer stop()
		q := newPostQueue(s, nil)
		for name, ctx := range map[string]context.Context{
			"itself": NoWait(), "value": context.WithValue(NoWait(), key{}, 1), "cancel": live, "timeout": long,
		} {
			require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), os.ErrDeadlineExceeded, name)
			require.NoError(t, q.Post(ctx, []byte("x"), nil, 0), name)
			require.NoError(t, q.Flush(soon(t)))
			require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, 1))))
			_, err := s.Writev(ctx, []byte("y"))
			require.NoError(t, err)
			require.Eventually(t, func() bool { _, err = c.Read(ctx, make([]byte, 1)); return err == nil }, 20*time.Second,
				100*time.Microsecond, name)
		}
		require.ErrorIs(t, expect.Err(c.Read(cancelled, make([]byte, 1))), context.Canceled)
	})
}

// A stream that was preloaded with a few bytes reads ahead like any other, also behind a large
// packet.
func TestStreamPreloadFewBytes(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		require.NoError(t, s.Preload([]byte("few")))
		requireReads(t, s, "few")
		sent := expect.Aside(func() error { _, err := c.Writev(soon(t), make([]byte, directMin), []byte("small")); return err })
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, directMin))))
		requireReads(t, s, "small")
		require.NoError(t, expect.Returns(t, sent))
	})
}

// A released stream returns nothing of what was read ahead: the process that goes on with the
// connection has it.
func TestStreamReleasedReadsNothing(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		requireWrites(t, c, "ahead")
		requireReads(t, s, "a")
		require.NoError(t, s.Preload([]byte("more ")))
		require.NoError(t, s.Release())
		b := make([]byte, 5)
		require.ErrorIs(t, expect.Err(s.Read(soon(t), b)), net.ErrClosed)
		require.ErrorIs(t, expect.Err(s.Readv(soon(t), b)), net.ErrClosed)
		require.ErrorIs(t, expect.Err2(s.Export()), net.ErrClosed)
		require.ErrorIs(t, expect.Err(s.PendingBytes()), net.ErrClosed)
	})
}

// After Yield, the next read lets a goroutine that is ready run first, even though the bytes are
// there.
func TestStreamYield(t *testing.T) {
	processors(t, 1)
	c, s := pair(t, TCP(), loopback())
	first := 0
	for range 20 {
		requireWrites(t, c, "x")
		var ran atomic.Bool
		go ran.Store(true)
		s.Yield()
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
		if ran.Load() {
			first++
		}
	}
	require.Greater(t, first, 10, "runtime.Gosched chooses another goroutine now and then, or none")
}
