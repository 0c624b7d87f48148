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

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
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

// inLine starts a call and returns once so many calls wait for their turn.
func inLine(t testing.TB, waiting int, op func() error) <-chan error {
	t.Helper()
	call := expect.Aside(op)
	if waiting > 0 {
		expect.WaitIn(t, waiting, "", "(*Turns).Take(")
	}
	return call
}

// begun waits until a send is in the mailroom.
func (m *mailroom) begun(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.inside == 1 }, tooLong, 100*time.Microsecond)
}

func TestSendToQueue(t *testing.T) {
	m := &mailroom{gate: make(chan struct{})}
	q := new(transport.Queue)
	ctx, cancel := context.WithCancel(context.Background())
	early, stop := context.WithCancel(context.Background())
	var calls []<-chan error
	texts := []string{"early", "one", "refused", "two", "cancelled", "three", "cancelled", "four"}
	for i, text := range texts {
		with := map[string]context.Context{"cancelled": ctx, "early": early}[text]
		if with == nil {
			with = soon(t)
		}
		calls = append(calls, inLine(t, i, func() error {
			n, err := SendToQueue(with, q, m, []byte(text), nil)
			if err == nil && n != len(text) {
				err = fmt.Errorf("%d bytes of %q", n, text)
			}
			return err
		}))
		m.begun(t)
	}
	_, err := SendToQueue(transport.NoWait(), q, m, []byte("never"), nil)
	requireTimeout(t, err)
	cancel()
	require.ErrorIs(t, expect.Returns(t, calls[4]), context.Canceled)
	require.ErrorIs(t, expect.Returns(t, calls[6]), context.Canceled)
	stop() // cancels the call whose turn it is
	require.ErrorIs(t, expect.Returns(t, calls[0]), context.Canceled)
	close(m.gate)
	for _, i := range []int{1, 3, 5, 7} {
		require.NoError(t, expect.Returns(t, calls[i]), texts[i])
	}
	require.EqualError(t, expect.Returns(t, calls[2]), "refused", "its own result")
	require.Equal(t, []string{"one", "two", "three", "four"}, m.sent)
	require.False(t, m.overlap, "two at once")
	require.Equal(t, 10, expect.NoError(SendToQueue(transport.NoWait(), q, m, []byte("free again"), nil)).In(t))
	_, err = SendToQueue(ctx, q, m, []byte("never"), nil)
	op := expect.As[*transport.OpError](t, err)
	require.Equal(t, transport.MemoryAddr("mailroom"), op.Addr)
}

// A virtual socket that panics ends its caller alone: the turn is passed on.
func TestSendToQueuePanic(t *testing.T) {
	q := new(transport.Queue)
	for range 2 {
		require.PanicsWithValue(t, "no room", func() { _, _ = SendToQueue(transport.NoWait(), q, panicroom{}, []byte("x"), nil) })
	}
}

// A panicroom is a virtual datagram socket that panics.
type panicroom struct{ Socket }

func (panicroom) SendTo(context.Context, []byte, transport.Addr) (int, error) { panic("no room") }

// Over a real socket: many senders, every datagram once, each sender's in order.
func TestSendToQueueOverUDP(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	q := new(transport.Queue)
	const senders, count = 8, 20
	var wg sync.WaitGroup
	for w := range senders {
		wg.Go(func() {
			for i := range count {
				if _, err := SendToQueue(soon(t), q, connected, []byte{byte(w), byte(i)}, nil); err != nil {
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
	require.ErrorIs(t, expect.Err(SendToQueue(soon(t), q, connected, []byte("x"), nil)), net.ErrClosed)
}

// One queue for several sockets, a stream among them: each call waits for those before it.
func TestQueueOfSeveralSockets(t *testing.T) {
	var q transport.Queue
	slow := &mailroom{gate: make(chan struct{})}
	open, connected := udpPair(t, "ipv4")
	mem := transport.NewMemory()
	l := expect.Open(mem.Listen(transport.MemoryAddr(""), 1)).In(t)
	c := expect.Open(mem.Connect(soon(t), l.Addr())).In(t)
	s := expect.Open(l.Accept(soon(t))).In(t)
	first := inLine(t, 0, func() error { return expect.Err(SendToQueue(soon(t), &q, slow, []byte("first"), nil)) })
	slow.begun(t)
	sends := inLine(t, 1, func() error { return expect.Err(SendToQueue(soon(t), &q, connected, []byte("datagram"), nil)) })
	writes := inLine(t, 2, func() error { return expect.Err(q.Writev(soon(t), c, []byte("bytes"))) })
	_, _, err := open.RecvFrom(within(t, 20*time.Millisecond), make([]byte, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Read(transport.NoWait(), make([]byte, 1))
	requireTimeout(t, err)
	close(slow.gate)
	for _, call := range []<-chan error{first, sends, writes} {
		require.NoError(t, expect.Returns(t, call))
	}
	requireReceives(t, open, "datagram", connected.LocalAddr())
	requireReads(t, s, "bytes")
}
