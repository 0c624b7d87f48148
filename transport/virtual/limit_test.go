package virtual

import (
	"context"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// transferred times the transfer of n bytes from c to s, which must arrive as they are.
func transferred(t *testing.T, c, s *transport.Stream, n int) time.Duration {
	t.Helper()
	data, got := noise(n), make([]byte, n)
	begin := time.Now()
	done := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), data[:n/3], data[n/3:])) })
	require.NoError(t, expect.Err(s.Readv(context.Background(), got)))
	require.NoError(t, <-done)
	require.Equal(t, data, got)
	return time.Since(begin)
}

func TestLimitRates(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       LimitOptions
		n       int
		seconds float64
	}{
		{"written", LimitOptions{Write: 1000, Burst: 100}, 5100, 5},
		{"read", LimitOptions{Read: 1000, Burst: 100}, 5100, 5},
		{"the slower one", LimitOptions{Read: 1000, Write: 100, Burst: 100}, 600, 5},
		{"a burst only", LimitOptions{Read: 1, Write: 1, Burst: 1000}, 1000, 0},
		{"default burst", LimitOptions{Write: 1000}, 1100, 1},
		{"a byte a second", LimitOptions{Write: 1}, 4, 3},
		{"less than a byte a second", LimitOptions{Write: 0.5}, 4, 6},
		{"a hundred megabytes a second", LimitOptions{Write: 1e8}, 30e6, 0.2},
		{"none", LimitOptions{Read: -1, Write: math.NaN()}, 1 << 20, 0},
		{"infinite", LimitOptions{Read: math.Inf(1)}, 1 << 20, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := pair(t, Limit(transport.NewMemory(), tt.o), transport.MemoryAddr(""))
				took := transferred(t, c, s, tt.n)
				require.InDelta(t, tt.seconds, took.Seconds(), 0.02*tt.seconds+0.02)
			})
		})
	}
}

// A connection that has rested may send a burst again, and no more.
func TestLimitRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Limit(transport.NewMemory(), LimitOptions{Write: 100, Burst: 100}), transport.MemoryAddr(""))
		require.InDelta(t, 1, transferred(t, c, s, 200).Seconds(), 0.02)
		time.Sleep(time.Hour)
		require.InDelta(t, 1, transferred(t, c, s, 200).Seconds(), 0.02)
		time.Sleep(500 * time.Millisecond)
		require.InDelta(t, 1.5, transferred(t, c, s, 200).Seconds(), 0.03)
	})
}

// A rest allows one burst and no more, even if an operation waits in the carrier below meanwhile.
func TestLimitRestsWhileItWaits(t *testing.T) {
	o := LimitOptions{Read: 1000, Write: 1000, Burst: 100}
	for name, waits := range map[string]func(t *testing.T) (begin func(), pass func(n int)){
		"reading": func(t *testing.T) (func(), func(int)) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			s = open(t)(LimitStream(s, o))
			return func() { require.NoError(t, expect.Err(c.Writev(context.Background(), make([]byte, 300)))) },
				func(n int) { require.NoError(t, expect.Err(s.Readv(context.Background(), make([]byte, n)))) }
		},
		"writing": func(t *testing.T) (func(), func(int)) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			require.NoError(t, expect.Err(c.Writev(context.Background(), make([]byte, memoryWindow))))
			c = open(t)(LimitStream(c, o))
			return func() { require.NoError(t, expect.Err(s.Readv(context.Background(), make([]byte, memoryWindow)))) },
				func(n int) { require.NoError(t, expect.Err(c.Writev(context.Background(), make([]byte, n)))) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, pass := waits(t)
				var began time.Time
				go func() {
					time.Sleep(time.Minute)
					began = time.Now()
					begin()
				}()
				pass(100)
				require.Zero(t, time.Since(began))
				pass(200)
				require.InDelta(t, 0.2, time.Since(began).Seconds(), 0.0001)
			})
		})
	}
}

// A single try takes what the bucket holds, although an operation that may wait would wait for
// more.
func TestLimitSingleTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, Limit(transport.NewMemory(), LimitOptions{Write: 10_000, Burst: 200}), transport.MemoryAddr(""))
		require.NoError(t, expect.Err(c.Writev(context.Background(), make([]byte, 197))))
		n, err := c.Writev(transport.NoWait(), make([]byte, 10))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.EqualValues(t, 3, n)

		// However low the rate is, the bucket holds a byte in the end.
		slow, _ := pair(t, Limit(transport.NewMemory(), LimitOptions{Write: 0.5}), transport.MemoryAddr(""))
		require.NoError(t, expect.Err(slow.Writev(transport.NoWait(), []byte("x"))))
		require.ErrorIs(t, expect.Err(slow.Writev(transport.NoWait(), []byte("y"))), os.ErrDeadlineExceeded)
		time.Sleep(2 * time.Second)
		require.NoError(t, expect.Err(slow.Writev(transport.NoWait(), []byte("y"))))
	})
}

// The vector of a part of a write is kept for the next one, without the caller's buffers.
func TestLimitForgetsBuffers(t *testing.T) {
	c, _ := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
	e := LimitOptions{Write: 1000, Burst: 4}.over(c).(*limited)
	require.Positive(t, expect.NoError(e.write(soon(t), [][]byte{[]byte("abc"), []byte("def")})).In(t))
	require.Equal(t, make([][]byte, 2), e.vec)
}

// Both directions, and every connection, have a rate of their own, unless it is shared.
func TestLimitShared(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tr := Limit(transport.NewMemory(), LimitOptions{Write: 1000, Burst: 10, Shared: shared})
			begin := time.Now()
			var wg sync.WaitGroup
			for range 4 {
				c, s := pair(t, tr, transport.MemoryAddr(""))
				wg.Go(func() { transferred(t, c, s, 1000) })
				wg.Go(func() { transferred(t, s, c, 1000) })
			}
			wg.Wait()
			want := 1.0
			if shared {
				want = 8
			}
			require.InDelta(t, want, time.Since(begin).Seconds(), 0.1*want)
		})
	}
}

// A wait ends with the context or with Close; what has passed counts.
func TestLimitWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Limit(transport.NewMemory(), LimitOptions{Read: 1, Write: 1, Burst: 10}), transport.MemoryAddr(""))
		begin := time.Now()
		short, cancel := context.WithTimeout(context.Background(), time.Second+time.Millisecond)
		defer cancel()
		n, err := c.Writev(short, make([]byte, 100))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 11, n)

		b := make([]byte, 100)
		require.Equal(t, 10, expect.NoError(s.Read(transport.NoWait(), b)).In(t))
		require.ErrorIs(t, expect.Err(s.Read(transport.NoWait(), b)), os.ErrDeadlineExceeded)
		require.Equal(t, time.Second+time.Millisecond, time.Since(begin))
		require.Equal(t, 1, expect.NoError(s.PendingBytes()).In(t))

		ended := expect.Aside(func() error { return expect.Err(s.Read(context.Background(), b)) })
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-ended, net.ErrClosed)
		require.Equal(t, time.Second+time.Millisecond, time.Since(begin))
	})
}

// What has not passed is not counted.
func TestLimitCountsWhatPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Limit(transport.NewMemory(), LimitOptions{Read: 1, Burst: 10}), transport.MemoryAddr(""))
		b := make([]byte, 10)
		for range 3 {
			require.ErrorIs(t, expect.Err(s.Read(transport.NoWait(), b)), os.ErrDeadlineExceeded)
		}
		require.NoError(t, expect.Err(c.Writev(context.Background(), b)))
		require.Equal(t, 10, expect.NoError(s.Read(transport.NoWait(), b)).In(t))
	})
}

// The wait ends with Release, too.
func TestLimitReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Limit(transport.NewMemory(), LimitOptions{Read: 0.001, Burst: 1}), transport.MemoryAddr(""))
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("ab"))))
		b := make([]byte, 1)
		require.NoError(t, expect.Err(s.Read(context.Background(), b)))
		ended := expect.Aside(func() error { _, err := s.Read(context.Background(), b); return err })
		synctest.Wait()
		require.NoError(t, s.Release())
		require.ErrorIs(t, expect.Returns(t, ended), net.ErrClosed)
	})
}

// The end of the stream comes in its turn.
func TestLimitEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Limit(transport.NewMemory(), LimitOptions{Read: 10, Burst: 1}), transport.MemoryAddr(""))
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("Erlang"))))
		require.NoError(t, c.Close())
		got := expect.NoError(io.ReadAll(transport.NetConn(s))).In(t)
		require.Equal(t, "Erlang", string(got))
	})
}

// A stream that is handed off has a full bucket in the other process.
func TestLimitMoves(t *testing.T) {
	require.Equal(t, transport.TCP().Movable(), Limit(transport.TCP(), LimitOptions{}).Movable())
	require.False(t, Limit(transport.NewMemory(), LimitOptions{}).Movable())
	require.Error(t, expect.Err(Limit(transport.NewMemory(), LimitOptions{}).Import(0, nil)))
	require.Error(t, expect.Err(Limit(transport.NewMemory(), LimitOptions{}).ImportListener(0)))
	require.Error(t, expect.Err(Limit(transport.NewMemory(), LimitOptions{}).Listen(loopback(), 0)))
	require.Error(t, expect.Err(Limit(transport.NewMemory(), LimitOptions{}).Connect(soon(t), loopback())))
}
