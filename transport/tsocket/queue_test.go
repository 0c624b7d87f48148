package tsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
)

// A mailroom is a virtual datagram socket that notes what is sent, one at a time, and can be held
// up.
type mailroom struct {
	Socket
	mu      sync.Mutex
	sent    []string
	inside  int
	overlap bool
	gate    chan struct{}
}

func (m *mailroom) RemoteAddr() transport.Addr { return transport.MemoryAddr("mailroom") }

func (m *mailroom) SendTo(ctx context.Context, p []byte, _ transport.Addr) (int, error) {
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
	_, err := q.SendToQueue(transport.NoWait(), []byte("never"), nil)
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
	n, err := q.SendToQueue(transport.NoWait(), []byte("free again"), nil)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	_, err = q.SendToQueue(ctx, []byte("never"), nil)
	var op *transport.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, transport.MemoryAddr("mailroom"), op.Addr)
}

// A virtual socket that panics ends its caller alone: the turn is passed on.
func TestSendToQueuePanic(t *testing.T) {
	q := NewSendQueue(panicroom{})
	for range 2 {
		require.PanicsWithValue(t, "no room", func() { _, _ = q.SendToQueue(transport.NoWait(), []byte("x"), nil) })
	}
}

// A panicroom is a virtual datagram socket that panics.
type panicroom struct{ Socket }

func (panicroom) SendTo(context.Context, []byte, transport.Addr) (int, error) { panic("no room") }

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
