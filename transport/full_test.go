package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// memoryCallbacks are the callbacks of an in-memory transport, to be changed by a test.
func memoryCallbacks() Callbacks[*memorySocket] { return *NewMemory().(*plugin[*memorySocket]).cb }

// patient is tr for tests in which every callback comes back.
func patient(tr Transport) Transport {
	return tr.(interface{ WithPatience(time.Duration) Transport }).WithPatience(tooLong)
}

// tooLong bounds what takes milliseconds unless something is broken.
const tooLong = expect.Limit

// soon is a context for operations that must succeed.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// first has before run at each Read, or at each Write.
func first[C any](call *func(c C, p []byte, tmo time.Duration) (int, error), before func()) {
	good := *call
	*call = func(c C, p []byte, tmo time.Duration) (int, error) {
		before()
		return good(c, p, tmo)
	}
}

// closed closes a stream that a call has given, and returns what has failed.
func closed(s *Stream, err error) error {
	if err == nil {
		err = s.Close()
	}
	return err
}

// waiting waits until n calls have begun.
func waiting(t testing.TB, n *atomic.Int32, want int32) {
	t.Helper()
	require.Eventually(t, func() bool { return n.Load() >= want }, tooLong, 100*time.Microsecond)
}

func TestFullBytesBesideTimeout(t *testing.T) {
	cb := memoryCallbacks()
	read, write := cb.Read, cb.Write
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		n, err := read(s, p[:min(len(p), 3)], tmo)
		return n, errors.Join(err, os.ErrDeadlineExceeded)
	}
	cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		n, err := write(s, p[:min(len(p), 2)], tmo)
		return n, errors.Join(err, syscall.EAGAIN)
	}
	c, s := pairOf(t, cb)
	sent := []byte("bytes count even beside an error")
	for name, ctx := range map[string]context.Context{"without a limit": context.Background(), "with one": soon(t)} {
		n, err := c.Writev(ctx, sent)
		require.NoError(t, err, name)
		require.EqualValues(t, len(sent), n, name)
		got := make([]byte, len(sent))
		require.NoError(t, expect.Err(s.Readv(soon(t), got)), name)
		require.Equal(t, string(sent), string(got), name)
		_, err = s.Read(NoWait(), got)
		require.True(t, isTimeout(err), name)
	}
}

// ETIMEDOUT beside bytes is a time-out, too, when the call's time is over. Before that it means a
// dead peer, and the next call returns it.
func TestFullBytesBesideETIMEDOUT(t *testing.T) {
	endless := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	for name, tt := range map[string]struct {
		ctx func() (context.Context, context.CancelFunc)
		// what the first call does
		first func(tmo time.Duration, cancel context.CancelFunc, interrupted <-chan struct{})
		// of a Writev, part of which is out
		want error
		// of a Read after one that has read something
		next error
	}{
		"out of time": {
			func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), time.Second/2)
			},
			func(tmo time.Duration, _ context.CancelFunc, _ <-chan struct{}) { time.Sleep(tmo) },
			context.DeadlineExceeded, os.ErrDeadlineExceeded,
		},
		"cancelled": {
			endless,
			func(_ time.Duration, cancel context.CancelFunc, interrupted <-chan struct{}) { cancel(); <-interrupted },
			syscall.ETIMEDOUT, syscall.ETIMEDOUT,
		},
		"no wait": {
			func() (context.Context, context.CancelFunc) { return NoWait(), func() {} },
			func(time.Duration, context.CancelFunc, <-chan struct{}) {},
			os.ErrDeadlineExceeded, os.ErrDeadlineExceeded,
		},
		"dead peer": {
			endless,
			func(time.Duration, context.CancelFunc, <-chan struct{}) {},
			syscall.ETIMEDOUT, syscall.ETIMEDOUT,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interrupted := make(chan struct{})
			var cancel context.CancelFunc
			calls := 0
			call := func(_ *memorySocket, _ []byte, tmo time.Duration) (int, error) {
				if calls++; calls > 1 {
					return 0, os.ErrDeadlineExceeded
				}
				tt.first(tmo, cancel, interrupted)
				return 2, syscall.ETIMEDOUT
			}
			cb := memoryCallbacks()
			cb.Read, cb.Write = call, call
			cb.Interrupt = func(*memorySocket) {
				select {
				case interrupted <- struct{}{}:
				default: // a repeated call
				}
			}
			c, _ := pairOf(t, cb)

			ctx, end := tt.ctx()
			cancel = end
			n, err := c.Writev(ctx, []byte("1234"))
			end()
			require.ErrorIs(t, err, tt.want)
			require.EqualValues(t, 2, n)

			calls = 0
			ctx, end = tt.ctx()
			cancel = end
			k, err := c.Read(ctx, make([]byte, 4))
			end()
			require.NoError(t, err)
			require.Equal(t, 2, k)
			require.ErrorIs(t, expect.Err(c.Read(NoWait(), make([]byte, 4))), tt.next)
		})
	}
}

// ETIMEDOUT before the time is over means a dead peer, whatever has ended the call meanwhile: the
// system says so only once. If the call was a slice, the time of the slice counts.
func TestFullDeadPeer(t *testing.T) {
	for name, tt := range map[string]struct {
		flags  Flags
		sliced bool
		// what happens during the first call
		first func(c *Stream, cancel context.CancelFunc, tmo time.Duration)
		want  error
	}{
		"cancelled": {FullImpl, false, func(_ *Stream, cancel context.CancelFunc, _ time.Duration) { cancel() }, syscall.ETIMEDOUT},
		"halted":    {FullImpl, false, func(c *Stream, _ context.CancelFunc, _ time.Duration) { c.car.halt(false) }, syscall.ETIMEDOUT},
		"halted, in place": {FullImpl | Direct, false, func(c *Stream, _ context.CancelFunc, _ time.Duration) { c.car.halt(false) },
			syscall.ETIMEDOUT},
		"in a slice":        {FullImpl, true, func(*Stream, context.CancelFunc, time.Duration) {}, syscall.ETIMEDOUT},
		"a slice is over":   {FullImpl, true, func(_ *Stream, _ context.CancelFunc, tmo time.Duration) { time.Sleep(tmo) }, io.EOF},
		"nothing but a try": {FullImpl, false, nil, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cb := memoryCallbacks()
				cb.Flags = tt.flags
				if tt.sliced {
					cb.Interrupt = nil
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var c *Stream
				calls := 0
				cb.Read = func(_ *memorySocket, _ []byte, tmo time.Duration) (int, error) {
					if calls++; calls > 1 {
						return 0, nil
					}
					if tt.first != nil {
						tt.first(c, cancel, tmo)
					}
					return 0, syscall.ETIMEDOUT
				}
				c, _ = pairOf(t, cb)
				if tt.first == nil {
					ctx = NoWait()
				}
				require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), tt.want)
			})
		})
	}
}

func TestFullTimeouts(t *testing.T) {
	var calls atomic.Int32
	for _, tt := range []struct {
		name string
		read func(tmo time.Duration) (int, error)
		ctx  time.Duration
		want error
	}{
		{"a time-out before its time is tried again", func(tmo time.Duration) (int, error) {
			time.Sleep(time.Millisecond)
			return 0, os.ErrDeadlineExceeded
		}, 30 * time.Millisecond, context.DeadlineExceeded},
		{"EAGAIN is a time-out", func(tmo time.Duration) (int, error) {
			time.Sleep(tmo)
			return 0, syscall.EAGAIN
		}, 10 * time.Millisecond, context.DeadlineExceeded},
		{"ETIMEDOUT when time is over is a time-out", func(tmo time.Duration) (int, error) {
			time.Sleep(tmo)
			return 0, syscall.ETIMEDOUT
		}, 10 * time.Millisecond, context.DeadlineExceeded},
		{"ETIMEDOUT before is a dead peer", func(time.Duration) (int, error) { return 0, syscall.ETIMEDOUT }, time.Hour, syscall.ETIMEDOUT},
		{"EINTR is tried again", func(time.Duration) (int, error) {
			if calls.Add(1) < 4 {
				return 0, syscall.EINTR
			}
			return 0, syscall.ECONNRESET
		}, time.Hour, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := memoryCallbacks()
			cb.Read = func(_ *memorySocket, _ []byte, tmo time.Duration) (int, error) { return tt.read(tmo) }
			c, _ := pairOf(t, cb)
			ctx, cancel := context.WithTimeout(context.Background(), tt.ctx)
			defer cancel()
			end, _ := ctx.Deadline()
			require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), tt.want)
			if tt.want == context.DeadlineExceeded {
				require.False(t, time.Now().Before(end), "before its time")
			}
		})
	}
}

// A callback that returns time-outs, or EINTR, in no time is at fault; a callback that has waited
// for a while each time, or has little time left, is not.
func TestFullHaste(t *testing.T) {
	for _, tt := range []struct {
		name       string
		takes, ctx time.Duration // ctx 0: no limit
		want       error
	}{
		{"in no time", 0, time.Hour, ErrContract},
		{"in no time, without a limit", 0, 0, ErrContract},
		{"after a while", noTime + 1, time.Second, context.DeadlineExceeded},
		{"near the end", enoughTime / 1000, enoughTime - 1, context.DeadlineExceeded},
	} {
		for _, returned := range []error{os.ErrDeadlineExceeded, syscall.EINTR} {
			for _, flags := range []Flags{FullImpl, FullImpl | Direct} {
				t.Run(fmt.Sprint(tt.name, " ", returned, " ", flags), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						cb := memoryCallbacks()
						cb.Flags = flags
						cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) {
							time.Sleep(tt.takes)
							return 0, returned
						}
						cb.Write, cb.Writev = cb.Read, nil
						ctx := func() context.Context {
							if tt.ctx == 0 {
								return context.Background()
							}
							return within(t, tt.ctx)
						}
						c, _ := pairOf(t, cb)
						require.ErrorIs(t, expect.Err(c.Read(ctx(), make([]byte, 1))), tt.want)
						c, _ = pairOf(t, cb)
						require.ErrorIs(t, expect.Err(c.Writev(ctx(), []byte("x"))), tt.want)
					})
				})
			}
		}
	}
}

// A time-out that Interrupt explains is no haste, however many there are in no time.
func TestFullHasteExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pairOf(t, memoryCallbacks())
		require.NoError(t, expect.Err(c.Writev(context.Background(), make([]byte, memoryWindow))))
		read := expect.Aside(func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
		for range 2 * hasteLimit {
			ctx, cancel := context.WithCancel(context.Background())
			write := expect.Aside(func() error { return expect.Err(c.Writev(ctx, []byte("x"))) })
			synctest.Wait()
			cancel()
			require.ErrorIs(t, <-write, context.Canceled)
		}
		require.NoError(t, expect.Err(s.Writev(context.Background(), []byte("y"))))
		require.NoError(t, <-read)
	})
}

// After a call that shutdown(2) was to end, the next one's error is its own again.
func TestFullErrorAfterCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := memoryCallbacks()
		cb.Interrupt = nil
		calls := 0
		cb.Write = func(*memorySocket, []byte, time.Duration) (int, error) {
			if calls++; calls > 1 {
				return 0, syscall.EIO
			}
			time.Sleep(time.Second / 2)
			return 0, syscall.ENOTCONN
		}
		c, _ := pairOf(t, cb)
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		require.ErrorIs(t, expect.Err(c.Writev(ctx, []byte("x"))), context.Canceled)
		require.ErrorIs(t, expect.Err(c.Writev(within(t, time.Hour), []byte("x"))), syscall.EIO)
	})
}

// What ends a call, or makes it a single try, ends one that returns EINTR again and again, too.
func TestFullEINTR(t *testing.T) {
	for _, flags := range []Flags{FullImpl, FullImpl | Direct} {
		for name, tt := range map[string]struct {
			ctx  context.Context
			ends func(*Stream) error
			want error
		}{
			"NoWait": {NoWait(), nil, os.ErrDeadlineExceeded},
			"Pause":  {context.Background(), func(c *Stream) error { return c.PauseRead(context.Background()) }, ErrPaused},
			"Close":  {context.Background(), (*Stream).Close, net.ErrClosed},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cb := memoryCallbacks()
					cb.Flags = flags
					cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) {
						// all repeats together would outlast the second that Close waits
						time.Sleep(50 * time.Millisecond)
						return 0, syscall.EINTR
					}
					c, _ := pairOf(t, cb)
					read := expect.Aside(func() error { return expect.Err(c.Read(tt.ctx, make([]byte, 1))) })
					if tt.ends != nil {
						time.Sleep(time.Second)
						require.NoError(t, tt.ends(c))
					}
					require.ErrorIs(t, <-read, tt.want)
				})
			})
		}
	}
}

// If a pause has ended a call, and was given up before the call's end was seen, the call does not
// say that the time of its context is over.
func TestFullPauseGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name    string
		writing bool
		breaks  func(cb *Callbacks[*memorySocket], cut func() error)
		call    func(c *Stream) error
	}{
		{"Read", false, func(cb *Callbacks[*memorySocket], cut func() error) {
			cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) { return 0, cut() }
		}, func(c *Stream) error { return expect.Err(c.Read(within(t, time.Hour), make([]byte, 1))) }},
		{"Write", true, func(cb *Callbacks[*memorySocket], cut func() error) {
			cb.Write = func(*memorySocket, []byte, time.Duration) (int, error) { return 0, cut() }
		}, func(c *Stream) error { return expect.Err(c.Writev(within(t, time.Hour), []byte("x"))) }},
	} {
		for _, flags := range []Flags{FullImpl, FullImpl | Direct} {
			cb := memoryCallbacks()
			cb.Flags = flags
			var c *Stream
			tt.breaks(&cb, func() error { c.car.halt(tt.writing); return os.ErrDeadlineExceeded })
			c, _ = pairOf(t, cb)
			require.ErrorIs(t, tt.call(c), ErrPaused, tt.name)
		}
	}

	cb := memoryCallbacks()
	accept := cb.Accept
	var l *Listener
	calls := 0
	cb.Accept = func(s *memorySocket, tmo time.Duration) (*memorySocket, Addr, error) {
		if calls++; calls == 1 {
			l.sock.halt(false)
			return nil, nil, os.ErrDeadlineExceeded
		}
		return accept(s, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l = expect.Open(tr.Listen(MemoryAddr(""), 1)).In(t)
	accepted := expect.Aside(func() error { return closed(l.Accept(within(t, time.Hour))) })
	in := &l.sock.(*full[*memorySocket]).in
	require.Eventually(t, func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return len(accepted) > 0 || in.halted.Load() && !in.inside
	}, tooLong, 100*time.Microsecond)
	l.sock.resume(false)
	expect.Open(tr.Connect(soon(t), l.Addr())).In(t)
	require.NoError(t, expect.Returns(t, accepted))
}

// Connect is called once: if the plug-in has a time limit of its own, its time-out is the result.
func TestFullConnectOnce(t *testing.T) {
	for _, limit := range []error{os.ErrDeadlineExceeded, syscall.EAGAIN, syscall.ETIMEDOUT} {
		synctest.Test(t, func(t *testing.T) {
			cb := memoryCallbacks()
			calls := 0
			cb.Connect = func(*memorySocket, Addr, time.Duration) error {
				calls++
				time.Sleep(time.Second)
				return limit
			}
			tr := expect.NoError(New(cb, nil)).In(t)
			_, err := tr.Connect(within(t, time.Hour), MemoryAddr("x"))
			want := limit
			if limit == syscall.EAGAIN {
				want = os.ErrDeadlineExceeded
			}
			require.ErrorIs(t, err, want)
			require.Equal(t, 1, calls)
		})
	}
}

// A Connect that returns EINTR without end is at fault, as every callback is.
func TestFullConnectEINTR(t *testing.T) {
	cb := memoryCallbacks()
	cb.Connect = func(*memorySocket, Addr, time.Duration) error { return syscall.EINTR }
	tr := expect.NoError(New(cb, nil)).In(t)
	require.ErrorIs(t, expect.Err(tr.Connect(soon(t), MemoryAddr("x"))), ErrContract)
}

// Without Interrupt Read and Accept are called in slices; Write and Connect get the whole time.
func TestFullSlices(t *testing.T) {
	var mu sync.Mutex
	longest := map[string]time.Duration{}
	note := func(name string, tmo time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		longest[name] = max(longest[name], tmo)
	}
	cb := memoryCallbacks()
	cb.Interrupt = nil
	read, write, accept, connect := cb.Read, cb.Write, cb.Accept, cb.Connect
	cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		note("Read", tmo)
		return read(s, p, tmo)
	}
	cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
		note("Write", tmo)
		return write(s, p, tmo)
	}
	cb.Accept = func(s *memorySocket, tmo time.Duration) (*memorySocket, Addr, error) {
		note("Accept", tmo)
		return accept(s, tmo)
	}
	cb.Connect = func(s *memorySocket, a Addr, tmo time.Duration) error {
		note("Connect", tmo)
		return connect(s, a, tmo)
	}
	c, s := pairOf(t, cb)
	read2 := expect.Aside(func() error { _, err := s.Read(context.Background(), make([]byte, 1)); return err })
	select {
	case err := <-read2:
		require.NoError(t, err, "before anything was sent")
	case <-time.After(2*slice + slice/2): // several slices
	}
	require.NoError(t, expect.Err(c.Writev(context.Background(), []byte{1})))
	require.NoError(t, expect.Returns(t, read2))
	mu.Lock()
	defer mu.Unlock()
	require.LessOrEqual(t, longest["Read"], slice)
	require.LessOrEqual(t, longest["Accept"], slice)
	require.Equal(t, Infinite, longest["Write"])
	require.Greater(t, longest["Connect"], slice)
}

// For a plug-in with neither Interrupt nor a descriptor, the error of a Write that cannot be ended
// says what is missing.
func TestFullWriteWithoutEnd(t *testing.T) {
	release := make(chan struct{})
	cb := memoryCallbacks()
	cb.Interrupt = nil
	var returned atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	cb.Write = func(_ *memorySocket, p []byte, _ time.Duration) (int, error) {
		cancel()
		<-release
		returned.Add(1)
		return len(p), nil
	}
	c, _ := pairOf(t, cb)
	defer func() { // the test leaves nothing behind
		close(release)
		waiting(t, &returned, 1)
	}()
	_, err := c.Writev(ctx, []byte("x"))
	require.ErrorIs(t, err, ErrUnresponsive)
	require.ErrorContains(t, err, "a carrier without a descriptor needs Interrupt")
}
