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
)

func TestMemoryNames(t *testing.T) {
	tr := NewMemory()
	a, err := tr.Listen(MemoryAddr("a"), 0)
	require.NoError(t, err)
	_, err = tr.Listen(MemoryAddr("a"), 0)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	free, err := tr.Listen(MemoryAddr(""), 0)
	require.NoError(t, err)
	require.NotEqual(t, a.Addr(), free.Addr())
	require.NotEqual(t, MemoryAddr(""), free.Addr())
	_, err = NewMemory().Connect(soon(t), a.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "another world")
	_, err = tr.Connect(soon(t), nil)
	require.EqualError(t, err, "connect: no address: "+syscall.EAFNOSUPPORT.Error())
	require.NoError(t, a.Close())
	require.NoError(t, free.Close())
	again, err := tr.Listen(MemoryAddr("a"), 0)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.Equal(t, "memory", again.Addr().Network())
	require.Equal(t, "memory:a", again.Addr().String())
}

// A connection to a listener that is closed gets an error, however close the moments are.
func TestMemoryListenerClosedUnderConnect(t *testing.T) {
	tr := NewMemory()
	for range 300 {
		l, err := tr.Listen(MemoryAddr(""), 4)
		require.NoError(t, err)
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
	l, err := tr.Listen(MemoryAddr("a"), 0)
	require.NoError(t, err)
	sock := l.sock.(*full[*memorySocket]).c
	require.NoError(t, l.Close())
	sock.world.listeners["a"] = sock // as Connect saw it just before
	s, err := tr.Connect(soon(t), MemoryAddr("a"))
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		return
	}
	defer s.Close()
	_, err = s.Read(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// A connection closed with bytes unread is reset, as TCP's is.
func TestMemoryReset(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	requireWrites(t, c, "unread")
	require.NoError(t, s.Close())
	_, err := c.Read(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestMemoryWindow(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	ctx, cancel := context.WithCancel(context.Background())
	var n int64
	written := aside(func() (err error) { n, err = c.Writev(ctx, make([]byte, 2*memoryWindow)); return err })
	pending := func() int {
		k, err := s.PendingBytes()
		require.NoError(t, err)
		return k
	}
	require.Eventually(t, func() bool { return pending() == memoryWindow }, tooLong, 100*time.Microsecond)
	cancel()
	require.ErrorIs(t, returns(t, written), context.Canceled)
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
	tr, err := New(cb, nil)
	require.NoError(t, err)
	l, err := tr.Listen(MemoryAddr("a"), 1)
	require.NoError(t, err)
	first, err := tr.Connect(soon(t), l.Addr())
	require.NoError(t, err)
	defer first.Close()
	_, err = tr.Connect(NoWait(), l.Addr())
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	before := begun.Load()
	second := aside(func() error {
		s, err := tr.Connect(soon(t), l.Addr())
		if err == nil {
			err = s.Close()
		}
		return err
	})
	waiting(t, &begun, before+1)
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, returns(t, second))
	third := aside(func() error { _, err := tr.Connect(soon(t), l.Addr()); return err })
	waiting(t, &begun, before+2)
	require.NoError(t, l.Close())
	require.ErrorIs(t, returns(t, third), syscall.ECONNREFUSED)
}

// A backlog of 0 is the default one, not none.
func TestMemoryDefaultBacklog(t *testing.T) {
	tr := NewMemory()
	l, err := tr.Listen(MemoryAddr(""), 0)
	require.NoError(t, err)
	defer l.Close()
	for range 100 {
		c, err := tr.Connect(NoWait(), l.Addr())
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
}
