//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// inLine starts a call and returns once it has its place.
func inLine(t testing.TB, turns *await.Turns, op func() error) <-chan error {
	t.Helper()
	place := turns.Callers
	before := place()
	call := aside(op)
	require.Eventually(t, func() bool { return place() > before }, tooLong, 100*time.Microsecond)
	return call
}

func TestReadPDUQueue(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		q := NewReadQueue(s)
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
				n, err := q.ReadPDUQueue(with, next)
				if err == nil && int(n) != 4+len(fs[i].body) {
					err = fmt.Errorf("counted %d", n)
				}
				return err
			}))
		}
		n, err := q.ReadPDUQueue(NoWait(), new(framer).next)
		requireTimeout(t, err)
		require.Zero(t, n)
		cancel()
		for _, i := range []int{3, 4, 9} {
			require.ErrorIs(t, returns(t, calls[i]), context.Canceled)
			require.Zero(t, fs[i].calls, "its function was called")
		}
		all := frames([][]byte{[]byte("one"), []byte("two"), []byte("three"), []byte("four"), []byte("five"), []byte("six")})
		// the first packet's reader gives up in the middle of the packet
		_, err = c.Writev(soon(t), all[:6])
		require.NoError(t, err)
		returns(t, half)
		stop()
		require.ErrorIs(t, returns(t, calls[0]), context.Canceled)
		_, err = c.Writev(soon(t), all[6:])
		require.NoError(t, err)
		for i, r := range []int{1, 2, 5, 6, 7, 8} {
			require.NoError(t, returns(t, calls[r]))
			require.Equal(t, []string{"one", "two", "three", "four", "five", "six"}[i], string(fs[r].body))
		}
		require.Zero(t, q.turns.Callers())
	})
}

// After a packet that is refused in its middle no reader begins at a wrong place.
func TestReadPDUQueueRefused(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := NewReadQueue(s)
	_, err := c.Writev(soon(t), append([]byte{255, 255, 255, 255}, frames([][]byte{[]byte("behind")})...))
	require.NoError(t, err)
	bad := errors.New("not today")
	_, err = q.ReadPDUQueue(soon(t), func() ([][]byte, error) { return nil, bad })
	require.Equal(t, bad, err, "before its first byte it harms nobody")
	_, err = q.ReadPDUQueue(soon(t), new(framer).next)
	require.EqualError(t, err, "too long", "its own result")
	for range 2 {
		_, err = q.ReadPDUQueue(soon(t), new(framer).next)
		require.ErrorContains(t, err, "too long")
		require.ErrorContains(t, err, "half-way")
	}
}

// The end of the stream, and Close, reach every caller.
func TestReadPDUQueueEnds(t *testing.T) {
	for _, how := range []string{"end", "close"} {
		c, s := pair(t, TCP(), loopback())
		q := NewReadQueue(s)
		var calls []<-chan error
		for range 4 {
			calls = append(calls, inLine(t, &q.turns, func() error { _, err := q.ReadPDUQueue(context.Background(), new(framer).next); return err }))
		}
		want := io.EOF
		if how == "end" {
			require.NoError(t, c.Close())
		} else {
			want = net.ErrClosed
			require.NoError(t, s.Close())
		}
		for _, call := range calls {
			require.ErrorIs(t, returns(t, call), want)
		}
	}
}

// A caller whose context ends at the very moment of its turn does not keep it.
func TestTurnOfCancelledCallerIsPassedOn(t *testing.T) {
	var line await.Turns
	for i := range 300 {
		require.NoError(t, line.Take(NoWait()), "somebody kept the turn, in round %d", i)
		ctx, cancel := context.WithCancel(context.Background())
		waits := inLine(t, &line, func() error { return line.Take(ctx) })
		cancel()
		line.Pass()
		if err := returns(t, waits); err == nil {
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
func TestReadQueuePanic(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	_, err := c.Writev(soon(t), []byte("AABB"))
	require.NoError(t, err)
	q := NewReadQueue(s)
	calls := 0
	require.Panics(t, func() {
		_, _ = q.ReadPDUQueue(soon(t), func() ([][]byte, error) {
			if calls++; calls == 2 {
				panic("half-way")
			}
			return [][]byte{make([]byte, 1)}, nil
		})
	})
	_, err = q.ReadPDUQueue(soon(t), func() ([][]byte, error) { return [][]byte{make([]byte, 2)}, nil })
	require.ErrorIs(t, err, errNextPanicked)
}
