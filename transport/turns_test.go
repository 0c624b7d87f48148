//go:build unix

package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// inLine starts a call and returns once it has its place.
func inLine(t testing.TB, turns *patience.Turns, op func() error) <-chan error {
	t.Helper()
	place := turns.Callers
	before := place()
	call := expect.Aside(op)
	require.Eventually(t, func() bool { return place() > before }, tooLong, 100*time.Microsecond)
	return call
}

// One queue for several streams: each of its calls waits for those before it on the others.
func TestQueueOfSeveralStreams(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		other, peer := pair(t, TCP(), loopback())
		var q Queue
		big := noise(32 << 20)
		first := inLine(t, &q.turns, func() error { return expect.Err(q.Writev(soon(t), c, big[:1], big[1:])) })
		requireReads(t, s, string(big[:1])) // it is on its way
		var calls []<-chan error
		for i := range 6 {
			calls = append(calls, inLine(t, &q.turns, func() error {
				n, err := q.Writev(soon(t), []*Stream{other, c}[i%2], []byte{byte('0' + i)}, []byte("ab"))
				if err == nil && n != 3 {
					err = fmt.Errorf("counted %d", n)
				}
				return err
			}))
		}
		var f framer
		reads := inLine(t, &q.turns, func() error { return expect.Err(q.ReadPDU(soon(t), other, f.next)) })
		require.NoError(t, expect.Err(peer.Writev(soon(t), frames([][]byte{[]byte("packet")}))))
		_, err := peer.Read(within(t, 20*time.Millisecond), make([]byte, 1))
		require.ErrorIs(t, err, context.DeadlineExceeded, "the write before it is not out")
		require.Empty(t, reads)
		require.ErrorIs(t, expect.Err(q.Writev(NoWait(), other, []byte("never"))), os.ErrDeadlineExceeded)

		got := make([]byte, len(big)-1)
		require.NoError(t, expect.Err(s.Readv(soon(t), got)))
		require.True(t, bytes.Equal(big[1:], got))
		requireReads(t, peer, "0ab2ab4ab")
		requireReads(t, s, "1ab3ab5ab")
		require.NoError(t, expect.Returns(t, first))
		for _, call := range calls {
			require.NoError(t, expect.Returns(t, call), "never busy")
		}
		require.NoError(t, expect.Returns(t, reads))
		require.Equal(t, "packet", string(f.body))
		require.Zero(t, q.turns.Callers())
	})
}

// A write whose context ends before its turn sends nothing; one that has begun goes out whole.
func TestQueueWritevCancelled(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		var q Queue
		big := noise(32 << 20)
		half, stop := context.WithCancel(t.Context())
		first := inLine(t, &q.turns, func() error {
			n, err := q.Writev(half, c, big[:5], nil, big[5:])
			if n != int64(len(big)) {
				err = fmt.Errorf("counted %d: %w", n, err)
			}
			return err
		})
		requireReads(t, s, string(big[:1]))
		ctx, cancel := context.WithCancel(t.Context())
		never := inLine(t, &q.turns, func() error {
			n, err := q.Writev(ctx, c, []byte("never"))
			if n != 0 {
				err = fmt.Errorf("counted %d", n)
			}
			return err
		})
		next := inLine(t, &q.turns, func() error { return expect.Err(q.Writev(soon(t), c, []byte("next"))) })
		cancel()
		require.ErrorIs(t, expect.Returns(t, never), context.Canceled)
		stop()
		err := expect.Returns(t, first)
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, err.Error(), "counted")
		clear(big[:1]) // the buffers are the caller's again
		own := noise(32 << 20)
		clear(big)
		require.Empty(t, next, "the rest is not out")
		got := make([]byte, len(own)-1)
		require.NoError(t, expect.Err(s.Readv(soon(t), got)))
		require.True(t, bytes.Equal(own[1:], got))
		requireReads(t, s, "next")
		require.NoError(t, expect.Returns(t, next))
		require.ErrorIs(t, expect.Err(q.Writev(soon(t), c, nil, []byte{})), syscall.EINVAL)
		require.ErrorIs(t, expect.Err(q.Writev(ctx, c, []byte("x"))), context.Canceled)
	})
}

// A write that fails half-way leaves nothing to those behind it; another stream's are not harmed.
func TestQueueWritevFails(t *testing.T) {
	k := &sink{room: 3, portion: func() int { return 3 }}
	c := newStream(k, MemoryAddr("peer"), connected)
	other, peer := pair(t, TCP(), loopback())
	var q Queue
	n, err := q.Writev(soon(t), c, []byte("abcdef"))
	require.ErrorIs(t, err, errFull)
	require.EqualValues(t, 3, n)
	op := expect.As[*OpError](t, err)
	require.Equal(t, MemoryAddr("peer"), op.Addr)
	n, err = q.Writev(soon(t), c, []byte("x"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorIs(t, err, errFull)
	require.Zero(t, n)
	require.NoError(t, expect.Err(q.Writev(soon(t), other, []byte("fine"))))
	requireReads(t, peer, "fine")
}

// So does one whose rest nobody takes any more when its caller has gone.
func TestQueueWritevEndsBehind(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	var q Queue
	ctx, cancel := context.WithCancel(t.Context())
	written := inLine(t, &q.turns, func() error { return expect.Err(q.Writev(ctx, c, make([]byte, 32<<20))) })
	requireReads(t, s, "\x00")
	cancel()
	require.ErrorIs(t, expect.Returns(t, written), context.Canceled)
	next := inLine(t, &q.turns, func() error { return expect.Err(q.Writev(soon(t), c, []byte("next"))) })
	require.NoError(t, s.Abort())
	require.ErrorIs(t, expect.Returns(t, next), ErrPoisoned)
}

// Do runs anything in its turn, and passes the turn on even if that panics.
func TestQueueDo(t *testing.T) {
	var q Queue
	for range 2 {
		require.PanicsWithValue(t, "no", func() { _ = q.Do(NoWait(), func() error { panic("no") }) })
	}
	gate := make(chan struct{})
	var order []int
	var calls []<-chan error
	for i := range 5 {
		calls = append(calls, inLine(t, &q.turns, func() error {
			return q.Do(soon(t), func() error { <-gate; order = append(order, i); return io.EOF })
		}))
	}
	require.ErrorIs(t, q.Do(NoWait(), func() error { return nil }), os.ErrDeadlineExceeded)
	require.ErrorIs(t, q.Do(within(t, time.Millisecond), func() error { return nil }), context.DeadlineExceeded)
	close(gate)
	for _, call := range calls {
		require.Equal(t, io.EOF, expect.Returns(t, call))
	}
	require.Equal(t, []int{0, 1, 2, 3, 4}, order)
}

func TestQueueReadPDU(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		q := new(Queue)
		const readers = 10
		var fs [readers]framer
		half := make(chan struct{}) // closed when the first reader has its packet's length
		var calls []<-chan error
		ctx, cancel := context.WithCancel(context.Background())
		first, stop := context.WithCancel(context.Background())
		for i := range fs {
			with := context.Background()
			switch i {
			case 0:
				with = first
			case 3, 4, 9:
				with = ctx
			}
			next := fs[i].next
			if i == 0 {
				asked := 0
				next = func() ([][]byte, error) {
					if asked++; asked == 2 {
						close(half)
					}
					return fs[0].next()
				}
			}
			calls = append(calls, inLine(t, &q.turns, func() error {
				n, err := q.ReadPDU(with, s, next)
				if err == nil && int(n) != 4+len(fs[i].body) {
					err = fmt.Errorf("counted %d", n)
				}
				return err
			}))
		}
		n, err := q.ReadPDU(NoWait(), s, new(framer).next)
		requireTimeout(t, err)
		require.Zero(t, n)
		cancel()
		for _, i := range []int{3, 4, 9} {
			require.ErrorIs(t, expect.Returns(t, calls[i]), context.Canceled)
			require.Zero(t, fs[i].calls, "its function was called")
		}
		all := frames([][]byte{[]byte("one"), []byte("two"), []byte("three"), []byte("four"), []byte("five"), []byte("six")})
		// the first packet's reader gives up in the middle of the packet
		require.NoError(t, expect.Err(c.Writev(soon(t), all[:6])))
		expect.Returns(t, half)
		stop()
		require.ErrorIs(t, expect.Returns(t, calls[0]), context.Canceled)
		require.NoError(t, expect.Err(c.Writev(soon(t), all[6:])))
		for i, r := range []int{1, 2, 5, 6, 7, 8} {
			require.NoError(t, expect.Returns(t, calls[r]))
			require.Equal(t, []string{"one", "two", "three", "four", "five", "six"}[i], string(fs[r].body))
		}
		require.Zero(t, q.turns.Callers())
	})
}

// After a packet that is refused in its middle no reader begins at a wrong place.
func TestQueueReadPDURefused(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := new(Queue)
	_, err := c.Writev(soon(t), append([]byte{255, 255, 255, 255}, frames([][]byte{[]byte("behind")})...))
	require.NoError(t, err)
	bad := errors.New("not today")
	_, err = q.ReadPDU(soon(t), s, func() ([][]byte, error) { return nil, bad })
	require.Equal(t, bad, err, "before its first byte it harms nobody")
	_, err = q.ReadPDU(soon(t), s, new(framer).next)
	require.EqualError(t, err, "too long", "its own result")
	for range 2 {
		_, err = q.ReadPDU(soon(t), s, new(framer).next)
		require.ErrorContains(t, err, "too long")
		require.ErrorContains(t, err, "half-way")
	}
}

// The end of the stream, and Close, reach every caller.
func TestQueueReadPDUEnds(t *testing.T) {
	for _, how := range []string{"end", "close"} {
		c, s := pair(t, TCP(), loopback())
		q := new(Queue)
		var calls []<-chan error
		for range 4 {
			calls = append(calls, inLine(t, &q.turns, func() error { _, err := q.ReadPDU(context.Background(), s, new(framer).next); return err }))
		}
		want := io.EOF
		if how == "end" {
			require.NoError(t, c.Close())
		} else {
			want = net.ErrClosed
			require.NoError(t, s.Close())
		}
		for _, call := range calls {
			require.ErrorIs(t, expect.Returns(t, call), want)
		}
	}
}

// A caller whose context ends at the very moment of its turn does not keep it.
func TestTurnOfCancelledCallerIsPassedOn(t *testing.T) {
	var line patience.Turns
	for i := range 300 {
		require.NoError(t, line.Take(NoWait()), "somebody kept the turn, in round %d", i)
		ctx, cancel := context.WithCancel(context.Background())
		waits := inLine(t, &line, func() error { return line.Take(ctx) })
		cancel()
		line.Pass()
		if err := expect.Returns(t, waits); err == nil {
			line.Pass()
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	require.NoError(t, line.Take(NoWait()), "somebody kept the turn")
	require.Equal(t, 1, line.Callers())
}

// After a next that leaves by a panic inside a packet, the place of the following packet is lost,
// too.
func TestQueueReadPDUPanic(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	requireWrites(t, c, "AABB")
	q := new(Queue)
	calls := 0
	require.Panics(t, func() {
		_, _ = q.ReadPDU(soon(t), s, func() ([][]byte, error) {
			if calls++; calls == 2 {
				panic("half-way")
			}
			return [][]byte{make([]byte, 1)}, nil
		})
	})
	_, err := q.ReadPDU(soon(t), s, func() ([][]byte, error) { return [][]byte{make([]byte, 2)}, nil })
	require.ErrorIs(t, err, errNextPanicked)
}
