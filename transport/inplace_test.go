package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// directCallbacks are the callbacks of the in-memory transport, with Direct.
func directCallbacks() Callbacks[*memorySocket] {
	cb := memoryCallbacks()
	cb.Flags |= Direct
	return cb
}

func TestDirectNeedsInterrupt(t *testing.T) {
	cb := directCallbacks()
	cb.Interrupt = nil
	require.ErrorContains(t, expect.Err(New(cb, nil)), "Interrupt")
	cb = directCallbacks()
	cb.Flags = Direct
	require.ErrorContains(t, expect.Err(New(cb, nil)), "FullImpl")
	cb.Flags = FullImpl | Direct<<1
	require.ErrorContains(t, expect.Err(New(cb, nil)), "unknown bits")
}

// The callbacks run on their caller's goroutine, which a panic's stack would show.
func TestDirectRunsInPlace(t *testing.T) {
	cb := directCallbacks()
	key := make(chan string, 10)
	first(&cb.Read, func() { key <- goroutine() })
	c, s := pairOf(t, cb)
	require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("x"))))
	require.NoError(t, expect.Err(s.Read(context.Background(), make([]byte, 1))))
	require.Equal(t, goroutine(), <-key)
}

// The context, its deadline, a pause and Close end a wait. The wait of the other direction goes on,
// though Interrupt ends the calls of both.
func TestFullEnds(t *testing.T) {
	for name, cb := range map[string]Callbacks[*memorySocket]{"in place": directCallbacks(), "on a goroutine": memoryCallbacks()} {
		t.Run(name, func(t *testing.T) {
			c, s := pairOf(t, cb)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			written := expect.Aside(func() error { _, err := c.Writev(soon(t), sent); return err })
			for range 20 {
				ctx, cancel := context.WithCancel(context.Background())
				read := expect.Aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
				time.AfterFunc(time.Millisecond, cancel)
				require.ErrorIs(t, expect.Returns(t, read), context.Canceled)

				read = expect.Aside(func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err })
				time.Sleep(100 * time.Microsecond)
				require.NoError(t, c.PauseRead(soon(t)))
				require.ErrorIs(t, expect.Returns(t, read), ErrPaused)
				c.Resume()
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), context.DeadlineExceeded)
			_, err := c.Read(NoWait(), make([]byte, 1))
			require.True(t, isTimeout(err))

			got := make([]byte, len(sent))
			require.NoError(t, expect.Err(s.Readv(soon(t), got)))
			require.True(t, bytes.Equal(sent, got))
			require.NoError(t, expect.Returns(t, written))

			read := expect.Aside(func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err })
			write := expect.Aside(func() error { _, err := c.Writev(context.Background(), sent, sent); return err })
			for _, operation := range []string{"(*Stream).Read(", "(*Stream).Writev("} {
				expect.WaitsIn(t, "", operation)
			}
			require.NoError(t, c.Close())
			require.ErrorIs(t, expect.Returns(t, read), net.ErrClosed)
			require.ErrorIs(t, expect.Returns(t, write), net.ErrClosed)
		})
	}
}

// A context that ends just as its call returns does not end the next one.
func TestDirectLateEnd(t *testing.T) {
	c, s := pairOf(t, directCallbacks())
	p := make([]byte, 1)
	for range 300 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		if _, err := s.Read(ctx, p); err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, expect.Err(c.Writev(context.Background(), p)))
		require.NoError(t, expect.Err(s.Read(context.Background(), p)))
		cancel()
	}
}

// The same where the call itself ends its context, and the next call waits.
func TestDirectEndsItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := directCallbacks()
		read := cb.Read
		var cancel atomic.Pointer[context.CancelFunc]
		cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
			if end := cancel.Load(); end != nil && tmo != 0 {
				cancel.Store(nil)
				(*end)()
				return 1, nil
			}
			return read(s, p, tmo)
		}
		c, s := pairOf(t, cb)
		p := make([]byte, 1)
		for range 100 {
			ctx, end := context.WithCancel(context.Background())
			cancel.Store(&end)
			require.NoError(t, expect.Err(s.Read(ctx, p)))
			next := expect.Aside(func() error { return expect.Err(s.Read(context.Background(), p)) })
			synctest.Wait()
			require.NoError(t, expect.Err(c.Writev(context.Background(), p)))
			require.NoError(t, <-next)
		}
	})
}

// ETIMEDOUT beside bytes means a dead peer, although the time of the call before was over.
func TestDirectDeadPeerAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := directCallbacks()
		calls := 0
		cb.Read = func(_ *memorySocket, _ []byte, tmo time.Duration) (int, error) {
			switch calls++; calls {
			case 1: // a look
				return 0, syscall.EAGAIN
			case 2:
				time.Sleep(tmo)
				return 0, syscall.ETIMEDOUT
			}
			return 2, syscall.ETIMEDOUT
		}
		c, _ := pairOf(t, cb)
		p := make([]byte, 2)
		require.ErrorIs(t, expect.Err(c.Read(within(t, time.Second), p)), context.DeadlineExceeded)
		require.NoError(t, expect.Err(c.Read(within(t, time.Second), p)))
		require.ErrorIs(t, expect.Err(c.Read(within(t, time.Second), p)), syscall.ETIMEDOUT)
	})
}

// A Direct callback that does not come back holds up its caller alone: the socket is dead for
// others, and Close comes back.
func TestDirectBreaksItsWord(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var inside, closed atomic.Int32
	cb := directCallbacks()
	var dead atomic.Pointer[memorySocket]
	read, closing := cb.Read, cb.Close
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		if s == dead.Load() && tmo != 0 {
			inside.Add(1)
			<-release
			return 0, os.ErrDeadlineExceeded
		}
		return read(s, p, tmo)
	}
	cb.Close = func(s *memorySocket) error {
		if s == dead.Load() {
			closed.Add(1)
		}
		return closing(s)
	}
	c, _ := pairOf(t, cb)
	dead.Store(c.car.(*full[*memorySocket]).c)
	ctx, cancel := context.WithCancel(context.Background())
	got := expect.Aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
	waiting(t, &inside, 1)
	cancel()
	require.Eventually(t, func() bool {
		_, err := c.Writev(NoWait(), []byte("x"))
		return errors.Is(err, ErrUnresponsive)
	}, tooLong, time.Millisecond)
	err := expect.Returns(t, expect.Aside(c.Close))
	require.ErrorIs(t, err, ErrUnresponsive)
	fault := expect.As[*CallbackError](t, err)
	require.Equal(t, "Read", fault.Callback)
	require.Zero(t, closed.Load(), "C was closed under a running callback")
	close(release)
	require.Error(t, expect.Returns(t, got))
	require.NoError(t, closing(dead.Load()))
}

// goroutine names the goroutine that runs it.
func goroutine() string {
	var b [64]byte
	name, _, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte("["))
	return string(name)
}

// A lateContext has a timer that is late: its deadline has passed for a while when it ends.
type lateContext struct {
	context.Context
	until time.Time
}

func (l lateContext) Deadline() (time.Time, bool) { return l.until, true }

// A caller whose time was over finds that its context has ended, and so can tell that from the end
// of the connection.
func TestFullTimeOutEndsContext(t *testing.T) {
	for name, cb := range map[string]Callbacks[*memorySocket]{"in place": directCallbacks(), "on a goroutine": memoryCallbacks()} {
		t.Run(name, func(t *testing.T) {
			_, s := pairOf(t, cb)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			late := lateContext{ctx, time.Now().Add(10 * time.Millisecond)}
			require.ErrorIs(t, expect.Err(s.Read(late, make([]byte, 1))), context.DeadlineExceeded)
			require.Error(t, late.Err())
		})
	}
}

// A call whose first, single try comes back when Close has stopped waiting makes no other try: C is
// closed by then.
func TestDirectLooksLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := directCallbacks()
		release := make(chan struct{})
		var reads, closed, after atomic.Int32
		closing := cb.Close
		var target atomic.Pointer[memorySocket]
		cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
			after.Add(closed.Load())
			reads.Add(1)
			<-release
			return 0, syscall.EAGAIN
		}
		cb.Close = func(s *memorySocket) error {
			if s == target.Load() {
				closed.Store(1)
			}
			return closing(s)
		}
		c, s := pairOf(t, cb)
		target.Store(c.car.(*full[*memorySocket]).c)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		read := expect.Aside(func() error { _, err := c.Readv(ctx, make([]byte, 1)); return err })
		synctest.Wait()
		require.ErrorIs(t, c.Close(), ErrUnresponsive)
		close(release)
		require.ErrorIs(t, <-read, net.ErrClosed)
		synctest.Wait()
		require.Equal(t, int32(1), closed.Load(), "C is closed after all")
		require.Zero(t, after.Load())
		require.Equal(t, int32(1), reads.Load())
		require.NoError(t, s.Close())
	})
}
