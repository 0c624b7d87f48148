//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// A mailroom is a virtual datagram socket that notes what is sent, one at a time, and can be held
// up.
type mailroom struct {
	DatagramSocket
	mu      sync.Mutex
	sent    []string
	inside  int
	overlap bool
	gate    chan struct{}
}

func (m *mailroom) RemoteAddr() Addr { return MemoryAddr("mailroom") }

func (m *mailroom) SendTo(ctx context.Context, p []byte, _ Addr) (int, error) {
	m.mu.Lock()
	m.inside++
	m.overlap = m.overlap || m.inside > 1
	m.mu.Unlock()
	defer func() { m.mu.Lock(); m.inside--; m.mu.Unlock() }()
	select {
	case <-m.gate:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if string(p) == "refused" {
		return 0, errors.New("refused")
	}
	m.sent = append(m.sent, string(p))
	return len(p), nil
}

// inLine starts a call and returns once it has its place.
func inLine(t testing.TB, turns *await.Turns, op func() error) <-chan error {
	t.Helper()
	place := turns.Callers
	before := place()
	call := aside(op)
	require.Eventually(t, func() bool { return place() > before }, tooLong, 100*time.Microsecond)
	return call
}

func TestSendToQueue(t *testing.T) {
	m := &mailroom{gate: make(chan struct{})}
	q := NewSendQueue(m)
	ctx, cancel := context.WithCancel(context.Background())
	early, stop := context.WithCancel(context.Background())
	var calls []<-chan error
	texts := []string{"early", "one", "refused", "two", "cancelled", "three", "cancelled", "four"}
	for _, text := range texts {
		with := map[string]context.Context{"cancelled": ctx, "early": early}[text]
		if with == nil {
			with = soon(t)
		}
		calls = append(calls, inLine(t, &q.turns, func() error {
			n, err := q.SendToQueue(with, []byte(text), nil)
			if err == nil && n != len(text) {
				err = fmt.Errorf("%d bytes of %q", n, text)
			}
			return err
		}))
	}
	_, err := q.SendToQueue(NoWait(), []byte("never"), nil)
	requireTimeout(t, err)
	cancel()
	require.ErrorIs(t, returns(t, calls[4]), context.Canceled)
	require.ErrorIs(t, returns(t, calls[6]), context.Canceled)
	stop() // cancels the call whose turn it is
	require.ErrorIs(t, returns(t, calls[0]), context.Canceled)
	close(m.gate)
	for _, i := range []int{1, 3, 5, 7} {
		require.NoError(t, returns(t, calls[i]), texts[i])
	}
	require.EqualError(t, returns(t, calls[2]), "refused", "its own result")
	require.Equal(t, []string{"one", "two", "three", "four"}, m.sent)
	require.False(t, m.overlap, "two at once")
	require.Zero(t, q.turns.Callers())
	n, err := q.SendToQueue(NoWait(), []byte("free again"), nil)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	_, err = q.SendToQueue(ctx, []byte("never"), nil)
	var op *OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, MemoryAddr("mailroom"), op.Addr)
}

// A virtual socket that panics ends its caller alone: the turn is passed on.
func TestSendToQueuePanic(t *testing.T) {
	q := NewSendQueue(panicroom{})
	for range 2 {
		require.PanicsWithValue(t, "no room", func() { _, _ = q.SendToQueue(NoWait(), []byte("x"), nil) })
	}
}

// A panicroom is a virtual datagram socket that panics.
type panicroom struct{ DatagramSocket }

func (panicroom) SendTo(context.Context, []byte, Addr) (int, error) { panic("no room") }

// Over a real socket: many senders, every datagram once, each sender's in order.
func TestSendToQueueOverUDP(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	q := NewSendQueue(connected)
	const senders, count = 8, 20
	var wg sync.WaitGroup
	for w := range senders {
		wg.Go(func() {
			for i := range count {
				if _, err := q.SendToQueue(soon(t), []byte{byte(w), byte(i)}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var got [senders][]byte
	p := make([]byte, 10)
	for range senders * count {
		n, _, err := open.RecvFrom(soon(t), p)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		got[p[0]] = append(got[p[0]], p[1])
	}
	wg.Wait()
	for _, g := range got {
		require.True(t, slices.IsSorted(g))
		require.Len(t, g, count)
	}
	require.NoError(t, connected.Close())
	_, err := q.SendToQueue(soon(t), []byte("x"), nil)
	require.ErrorIs(t, err, net.ErrClosed)
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
