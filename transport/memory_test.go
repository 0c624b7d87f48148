package transport

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestMemoryNames(t *testing.T) {
	tr := NewMemory()
	a := expect.NoError(tr.Listen(MemoryAddr("a"), 0)).In(t)
	require.ErrorIs(t, expect.Err(tr.Listen(MemoryAddr("a"), 0)), syscall.EADDRINUSE)
	free := expect.NoError(tr.Listen(MemoryAddr(""), 0)).In(t)
	require.NotEqual(t, a.Addr(), free.Addr())
	require.NotEqual(t, MemoryAddr(""), free.Addr())
	require.ErrorIs(t, expect.Err(NewMemory().Connect(soon(t), a.Addr())), syscall.ECONNREFUSED, "another world")
	require.EqualError(t, expect.Err(tr.Connect(soon(t), nil)), "connect: no address: "+syscall.EAFNOSUPPORT.Error())
	require.NoError(t, a.Close())
	require.NoError(t, free.Close())
	again := expect.NoError(tr.Listen(MemoryAddr("a"), 0)).In(t)
	require.NoError(t, again.Close())
	require.Equal(t, "memory", again.Addr().Network())
	require.Equal(t, "memory:a", again.Addr().String())
}

// A connection to a listener that is closed gets an error, however close the moments are.
func TestMemoryListenerClosedUnderConnect(t *testing.T) {
	tr := NewMemory()
	for range 300 {
		l := expect.NoError(tr.Listen(MemoryAddr(""), 4)).In(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := tr.Connect(soon(t), l.Addr())
				if err != nil {
					return
				}
				_, err = s.Read(soon(t), make([]byte, 1))
				if err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a connection nobody accepts read %v", err)
				}
				_ = s.Close()
			})
		}
		require.NoError(t, l.Close())
		wg.Wait()
	}
}

// The same, at the very moment.
func TestMemoryConnectMissesClose(t *testing.T) {
	tr := NewMemory()
	l := expect.NoError(tr.Listen(MemoryAddr("a"), 0)).In(t)
	sock := l.sock.(*full[*memorySocket]).c
	require.NoError(t, l.Close())
	sock.world.listeners["a"] = sock // as Connect saw it just before
	s, err := tr.Connect(soon(t), MemoryAddr("a"))
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		return
	}
	defer s.Close()
	require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
}

// A connection closed with bytes unread is reset, as TCP's is.
func TestMemoryReset(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	requireWrites(t, c, "unread")
	require.NoError(t, s.Close())
	require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
}

func TestMemoryWindow(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	ctx, cancel := context.WithCancel(context.Background())
	var n int64
	written := expect.Aside(func() (err error) { n, err = c.Writev(ctx, make([]byte, 2*memoryWindow)); return err })
	pending := func() int {
		return expect.NoError(s.PendingBytes()).In(t)
	}
	require.Eventually(t, func() bool { return pending() == memoryWindow }, tooLong, 100*time.Microsecond)
	cancel()
	require.ErrorIs(t, expect.Returns(t, written), context.Canceled)
	require.EqualValues(t, memoryWindow, n)
	require.Equal(t, memoryWindow, pending())
}

// A Connect to a full backlog waits for room, and is told when the listener closes instead.
func TestMemoryBacklog(t *testing.T) {
	var begun atomic.Int32
	cb := memoryCallbacks()
	connect := cb.Connect
	cb.Connect = func(s *memorySocket, a Addr, tmo time.Duration) error {
		begun.Add(1)
		return connect(s, a, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l := expect.NoError(tr.Listen(MemoryAddr("a"), 1)).In(t)
	expect.Open(tr.Connect(soon(t), l.Addr())).In(t)
	require.ErrorIs(t, expect.Err(tr.Connect(NoWait(), l.Addr())), os.ErrDeadlineExceeded)
	before := begun.Load()
	second := expect.Aside(func() error { return closed(tr.Connect(soon(t), l.Addr())) })
	waiting(t, &begun, before+1)
	expect.Open(l.Accept(soon(t))).In(t)
	require.NoError(t, expect.Returns(t, second))
	third := expect.Aside(func() error { _, err := tr.Connect(soon(t), l.Addr()); return err })
	waiting(t, &begun, before+2)
	require.NoError(t, l.Close())
	require.ErrorIs(t, expect.Returns(t, third), syscall.ECONNREFUSED)
}

// A backlog of 0 is the default one, not none.
func TestMemoryDefaultBacklog(t *testing.T) {
	tr := NewMemory()
	l := expect.Open(tr.Listen(MemoryAddr(""), 0)).In(t)
	for range 100 {
		c := expect.NoError(tr.Connect(NoWait(), l.Addr())).In(t)
		require.NoError(t, c.Close())
	}
}
