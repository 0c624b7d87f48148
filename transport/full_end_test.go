package transport

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// How a callback ends that is not ended by Interrupt: late, or never, or its goroutine with it.

// A callback that is not ended by Interrupt, and an Interrupt that does not come back, leave a dead
// socket; others live on.
func TestFullUnresponsive(t *testing.T) {
	for _, culprit := range []string{"Read", "Interrupt"} {
		t.Run(culprit, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			var inside, closed atomic.Int32
			var dead atomic.Pointer[memorySocket]
			cb := memoryCallbacks()
			read, interrupt, closing := cb.Read, cb.Interrupt, cb.Close
			cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
				if s == dead.Load() {
					inside.Add(1)
					if culprit == "Read" {
						<-release
					}
				}
				return read(s, p, tmo)
			}
			cb.Interrupt = func(s *memorySocket) {
				if culprit == "Interrupt" && s == dead.Load() {
					<-release
				}
				interrupt(s)
			}
			cb.Close = func(s *memorySocket) error {
				if s == dead.Load() {
					closed.Add(1)
				}
				return closing(s)
			}
			c, s := pairOf(t, cb)
			c2, s2 := pairOf(t, cb)
			dead.Store(c.car.(*full[*memorySocket]).c)
			defer func() { // the test leaves nothing behind
				close(release)
				waiting(t, &closed, 1)
			}()

			ctx, cancel := context.WithCancel(context.Background())
			got := expect.Aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
			waiting(t, &inside, 1)
			cancel()
			err := expect.Returns(t, got)
			cbErr := expect.As[*CallbackError](t, err)
			require.ErrorIs(t, err, ErrUnresponsive)
			require.Equal(t, culprit, cbErr.Callback)

			_, err = c.Writev(soon(t), []byte("x"))
			require.ErrorIs(t, err, ErrUnresponsive, "the socket is dead for the other direction too")
			require.ErrorIs(t, expect.Returns(t, expect.Aside(c.Close)), ErrUnresponsive)
			require.Zero(t, closed.Load(), "C was closed under a running callback")

			requireWrites(t, c2, "unharmed")
			require.NoError(t, expect.Err(s2.Readv(soon(t), make([]byte, 8))))
			require.NoError(t, s.Close())
		})
	}
}

// A callback that ends its goroutine, as FailNow of a test does, is an error of its socket, at
// once.
func TestFullExits(t *testing.T) {
	for name, call := range map[string]func(c, s *Stream) error{
		"Read":      func(c, _ *Stream) error { _, err := c.Read(context.Background(), make([]byte, 1)); return err },
		"Write":     func(c, _ *Stream) error { _, err := c.Writev(context.Background(), []byte("x")); return err },
		"CheckPeer": func(c, _ *Stream) error { return c.CheckPeer(context.Background(), "a@b") },
	} {
		t.Run(name, func(t *testing.T) {
			cb := memoryCallbacks()
			cb.Writev = nil
			cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) { runtime.Goexit(); return 0, nil }
			cb.Write = cb.Read
			cb.CheckPeer = func(*memorySocket, string) error { runtime.Goexit(); return nil }
			c, s := pairOf(t, cb)
			err := expect.Returns(t, expect.Aside(func() error { return call(c, s) }))
			e := expect.As[*CallbackError](t, err)
			require.Equal(t, name, e.Callback)
			require.ErrorIs(t, err, ErrPanic)
			require.Equal(t, err.(*OpError).Err, call(c, s).(*OpError).Err)
			require.NoError(t, c.Close())
		})
	}
}

// With Direct such a callback ends its caller's goroutine. Later calls get the error, and the
// socket can be closed all the same.
func TestDirectExits(t *testing.T) {
	cb := memoryCallbacks()
	cb.Flags |= Direct
	cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) { runtime.Goexit(); return 0, nil }
	c, _ := pairOf(t, cb)
	requireExit(t, "Read", func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
	require.NoError(t, c.Close())
}

// requireExit requires that a callback ends the goroutine of its call, and that its socket is
// broken then.
func requireExit(t *testing.T, callback string, call func() error) {
	t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = call()
	}()
	expect.Returns(t, gone)
	err := expect.Returns(t, expect.Aside(call))
	fault := expect.As[*CallbackError](t, err)
	require.Equal(t, callback, fault.Callback)
	require.ErrorIs(t, err, ErrPanic)
}

// The buffer of a Read that was left behind belongs to the callback: bytes that had been read
// before are put back into another buffer.
func TestFullReadLeftBehindKeepsItsBuffer(t *testing.T) {
	t.Parallel()
	cb := memoryCallbacks()
	cb.Interrupt = func(*memorySocket) {}
	read := cb.Read
	release, over := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	var its []byte
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		if calls.Add(1) == 1 {
			return read(s, p, tmo)
		}
		defer close(over)
		its = p
		<-release
		clear(p)
		return 0, os.ErrDeadlineExceeded
	}
	c, s := pairOf(t, cb)
	requireWrites(t, c, "come")
	ctx, cancel := context.WithCancel(context.Background())
	got := expect.Aside(func() error { _, err := s.Readv(ctx, make([]byte, 100)); return err })
	waiting(t, &calls, 2)
	cancel()
	require.ErrorIs(t, expect.Returns(t, got), ErrUnresponsive)
	ahead := s.buf[s.r:s.w]
	require.Equal(t, "come", string(ahead))
	close(release)
	<-over
	require.Equal(t, "come", string(ahead))
	require.NotSame(t, &its[0], &s.buf[0])
}

// The vector of a Writev that was left behind belongs to the callback.
func TestFullWriteLeftBehindKeepsItsVector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := memoryCallbacks()
		cb.Interrupt = func(*memorySocket) {}
		release, its := make(chan struct{}), make(chan string, 1)
		cb.Writev = func(_ *memorySocket, v [][]byte, _ time.Duration) (int64, error) {
			<-release
			its <- string(bytes.Join(v, nil))
			return 0, os.ErrDeadlineExceeded
		}
		c, _ := pairOf(t, cb)
		ctx, cancel := context.WithCancel(t.Context())
		got := expect.Aside(func() error { _, err := c.Writev(ctx, []byte("abc"), []byte("def")); return err })
		synctest.Wait()
		cancel()
		require.ErrorIs(t, expect.Returns(t, got), ErrUnresponsive)
		require.Error(t, expect.Err(c.Writev(t.Context(), []byte("uvw"), []byte("xyz"))))
		close(release)
		require.Equal(t, "abcdef", expect.Returns(t, its))
	})
}

// When a callback comes back long after it was given up, C is closed after all, and so is the
// connection that an Accept has brought.
func TestFullComesBackLate(t *testing.T) {
	for _, name := range []string{"Connect", "Accept", "Read", "Connect without Interrupt"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				callback, without, _ := strings.Cut(name, " ")
				cb := memoryCallbacks()
				if cb.Interrupt = nil; without == "" {
					cb.Interrupt = func(*memorySocket) {}
				}
				release := make(chan struct{})
				open := map[*memorySocket]bool{}
				var mu sync.Mutex
				count := func(s *memorySocket, err error) (*memorySocket, error) {
					mu.Lock()
					defer mu.Unlock()
					open[s] = err == nil
					return s, err
				}
				socket, closing, accept := cb.Socket, cb.Close, cb.Accept
				cb.Socket = func(setup any, addr Addr) (*memorySocket, error) { return count(socket(setup, addr)) }
				cb.Close = func(s *memorySocket) error {
					mu.Lock()
					delete(open, s)
					mu.Unlock()
					return closing(s)
				}
				cb.Accept = func(s *memorySocket, tmo time.Duration) (*memorySocket, Addr, error) {
					if callback == "Accept" {
						<-release
					}
					c, from, err := accept(s, tmo)
					_, err = count(c, err)
					return c, from, err
				}
				connect, read := cb.Connect, cb.Read
				cb.Connect = func(s *memorySocket, addr Addr, tmo time.Duration) error {
					if callback == "Connect" {
						<-release
					}
					return connect(s, addr, tmo)
				}
				cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
					if callback == "Read" {
						<-release
					}
					return read(s, p, tmo)
				}
				tr := expect.NoError(New(cb, nil)).In(t)
				l := expect.NoError(tr.Listen(MemoryAddr("x"), 0)).In(t)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				c, err := tr.Connect(ctx, MemoryAddr("x"))
				if callback == "Connect" {
					require.ErrorIs(t, err, ErrUnresponsive)
					require.Equal(t, callback, expect.As[*CallbackError](t, err).Callback)
				} else {
					require.NoError(t, err)
				}
				var a *Stream
				if callback != "Connect" {
					a, err = l.Accept(ctx)
				}
				if callback == "Accept" {
					require.ErrorIs(t, err, ErrUnresponsive)
				}
				if callback == "Read" {
					require.NoError(t, err)
					require.ErrorIs(t, expect.Err(c.Readv(ctx, make([]byte, 1))), ErrUnresponsive)
					require.ErrorIs(t, c.Close(), ErrUnresponsive)
					require.NoError(t, a.Close())
				}
				time.Sleep(time.Hour)
				mu.Lock()
				require.Len(t, open, 2, "closed under the callback")
				mu.Unlock()
				close(release)
				synctest.Wait()
				if callback == "Accept" {
					require.NoError(t, c.Close())
				}
				_ = l.Close()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				require.Empty(t, open)
			})
		})
	}
}

// A Direct callback that comes back only after Close leaves no goroutine behind, such as the one
// that has run Connect: the bubble of the test ends.
func TestDirectComesBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := memoryCallbacks()
		cb.Flags |= Direct
		late := make(chan struct{})
		first(&cb.Write, func() { <-late })
		c, _ := pairOf(t, cb)
		sent := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), []byte("x"))) })
		synctest.Wait()
		require.ErrorIs(t, c.Close(), ErrUnresponsive)
		close(late)
		<-sent
	})
}
