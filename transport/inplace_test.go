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
	_, err := New(cb, nil)
	require.ErrorContains(t, err, "Interrupt")
	cb = directCallbacks()
	cb.Flags = Direct
	_, err = New(cb, nil)
	require.ErrorContains(t, err, "FullImpl")
	cb.Flags = FullImpl | Direct<<1
	_, err = New(cb, nil)
	require.ErrorContains(t, err, "unknown bits")
}

// The callbacks run on their caller's goroutine, which a panic's stack would show.
func TestDirectRunsInPlace(t *testing.T) {
	cb := directCallbacks()
	key := make(chan string, 10)
	read := cb.Read
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		key <- goroutine()
		return read(s, p, tmo)
	}
	c, s := pairOf(t, cb)
	_, err := c.Writev(context.Background(), []byte("x"))
	require.NoError(t, err)
	_, err = s.Read(context.Background(), make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, goroutine(), <-key)
}

// The context, its deadline and Close end a wait. The wait of the other direction goes on, though
// Interrupt ends the calls of both.
func TestFullEnds(t *testing.T) {
	for name, cb := range map[string]Callbacks[*memorySocket]{"in place": directCallbacks(), "on a goroutine": memoryCallbacks()} {
		t.Run(name, func(t *testing.T) {
			c, s := pairOf(t, cb)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			written := aside(func() error { _, err := c.Writev(soon(t), sent); return err })
			for range 20 {
				ctx, cancel := context.WithCancel(context.Background())
				read := aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
				time.AfterFunc(time.Millisecond, cancel)
				require.ErrorIs(t, returns(t, read), context.Canceled)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			defer cancel()
			_, err := c.Read(ctx, make([]byte, 1))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = c.Read(NoWait(), make([]byte, 1))
			require.True(t, isTimeout(err))

			got := make([]byte, len(sent))
			_, err = s.Readv(soon(t), got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent, got))
			require.NoError(t, returns(t, written))

			read := aside(func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err })
			write := aside(func() error { _, err := c.Writev(context.Background(), sent, sent); return err })
			for _, operation := range []string{"(*Stream).Read(", "(*Stream).Writev("} {
				expect.WaitsIn(t, "", operation)
			}
			require.NoError(t, c.Close())
			require.ErrorIs(t, returns(t, read), net.ErrClosed)
			require.ErrorIs(t, returns(t, write), net.ErrClosed)
		})
	}
}

// A pause ends a read and a write at any byte, and nothing is lost.
func TestDirectPauses(t *testing.T) {
	c, s := pairOf(t, directCallbacks())
	for range 20 {
		read := aside(func() error { _, err := s.Read(context.Background(), make([]byte, 1)); return err })
		time.Sleep(100 * time.Microsecond)
		require.NoError(t, s.PauseRead(soon(t)))
		require.ErrorIs(t, returns(t, read), ErrPaused)
		s.Resume()
	}
	requireWrites(t, c, "x")
	_, err := s.Read(soon(t), make([]byte, 1))
	require.NoError(t, err)
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
		_, err := c.Writev(context.Background(), p)
		require.NoError(t, err)
		_, err = s.Read(context.Background(), p)
		require.NoError(t, err)
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
			require.NoError(t, second(s.Read(ctx, p)))
			next := aside(func() error { return second(s.Read(context.Background(), p)) })
			synctest.Wait()
			require.NoError(t, second(c.Writev(context.Background(), p)))
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
		require.ErrorIs(t, second(c.Read(within(t, time.Second), p)), context.DeadlineExceeded)
		require.NoError(t, second(c.Read(within(t, time.Second), p)))
		require.ErrorIs(t, second(c.Read(within(t, time.Second), p)), syscall.ETIMEDOUT)
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
	got := aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
	waiting(t, &inside, 1)
	cancel()
	require.Eventually(t, func() bool {
		_, err := c.Writev(NoWait(), []byte("x"))
		return errors.Is(err, ErrUnresponsive)
	}, tooLong, time.Millisecond)
	err := returns(t, aside(c.Close))
	require.ErrorIs(t, err, ErrUnresponsive)
	var fault *CallbackError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "Read", fault.Callback)
	require.Zero(t, closed.Load(), "C was closed under a running callback")
	close(release)
	require.Error(t, returns(t, got))
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
			_, err := s.Read(late, make([]byte, 1))
			require.ErrorIs(t, err, context.DeadlineExceeded)
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
		read := aside(func() error { _, err := c.Readv(ctx, make([]byte, 1)); return err })
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
