package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// Close waits for the hooks and small callbacks in flight.
func TestCloseWaitsForCallbacks(t *testing.T) {
	for _, name := range []string{"HandshakePacketHeaderSize", "CheckPeer", "CloseWrite", "LocalAddr", "Pending"} {
		t.Run(name, func(t *testing.T) {
			var inside, under atomic.Int32
			var closed atomic.Bool
			release := make(chan struct{})
			slow := func() {
				inside.Add(1)
				<-release
				if closed.Load() {
					under.Add(1)
				}
			}
			cb := memoryCallbacks()
			closing := cb.Close
			var mine atomic.Pointer[memorySocket]
			cb.Close = func(s *memorySocket) error {
				if s == mine.Load() {
					closed.Store(true)
				}
				return closing(s)
			}
			cb.HandshakePacketHeaderSize = func(*memorySocket) (int, error) { slow(); return 2, nil }
			cb.CheckPeer = func(*memorySocket, string) error { slow(); return nil }
			cb.CloseWrite = func(*memorySocket) error { slow(); return nil }
			cb.LocalAddr = func(*memorySocket) (Addr, error) { slow(); return MemoryAddr("x"), nil }
			cb.Pending = func(*memorySocket) (int, error) { slow(); return 0, nil }
			c, _ := pairOf(t, cb)
			mine.Store(c.car.(*full[*memorySocket]).c)
			call := expect.Aside(func() error {
				switch name {
				case "HandshakePacketHeaderSize":
					return expect.Err(c.HandshakePacketHeaderSize(soon(t)))
				case "CheckPeer":
					return c.CheckPeer(soon(t), "n@h")
				case "CloseWrite":
					return c.CloseWrite()
				case "LocalAddr":
					c.LocalAddr()
				case "Pending":
					return expect.Err(c.PendingBytes())
				}
				return nil
			})
			waiting(t, &inside, 1)
			done := expect.Aside(c.Close)
			select {
			case err := <-done:
				require.FailNow(t, "Close did not wait", "%v", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(release)
			require.NoError(t, expect.Returns(t, call))
			require.NoError(t, expect.Returns(t, done))
			require.True(t, closed.Load())
			require.Zero(t, under.Load(), "C was closed under a running callback")
			closed.Store(false)
			require.Nil(t, c.LocalAddr(), "a closed C is not asked")
			require.ErrorIs(t, c.CheckPeer(soon(t), "n@h"), net.ErrClosed)
			require.EqualValues(t, 1, inside.Load())
		})
	}
}

// A callback's panic, a count out of range and a changed descriptor are errors that say which
// callback it was. They end the socket they happen on, and no other.
func TestCallbackFaultsEndTheirSocket(t *testing.T) {
	type fault struct {
		name     string
		breakIt  func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool)
		use      func(c *Stream) error
		callback string
		want     error
	}
	read := func(c *Stream) error { _, err := c.Read(context.Background(), make([]byte, 8)); return err }
	write := func(c *Stream) error { _, err := c.Writev(context.Background(), []byte("12345678")); return err }
	writev := func(c *Stream) error {
		return expect.Err(c.Writev(context.Background(), []byte("1234"), []byte("5678")))
	}
	reads := func(end func() (int, error)) func(*Callbacks[*memorySocket], func(*memorySocket) bool) {
		return func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			good := cb.Read
			cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
				if bad(s) {
					return end()
				}
				return good(s, p, tmo)
			}
		}
	}
	writes := func(end func() (int, error)) func(*Callbacks[*memorySocket], func(*memorySocket) bool) {
		return func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			good := cb.Write
			cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
				if bad(s) {
					return end()
				}
				return good(s, p, tmo)
			}
		}
	}
	panics := func() (int, error) { panic("a panic") }
	readsN := func(n int, err error) func(*Callbacks[*memorySocket], func(*memorySocket) bool) {
		return reads(func() (int, error) { return n, err })
	}
	writesN := func(n int, err error) func(*Callbacks[*memorySocket], func(*memorySocket) bool) {
		return writes(func() (int, error) { return n, err })
	}
	writesVN := func(n int64) func(*Callbacks[*memorySocket], func(*memorySocket) bool) {
		return func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.Writev = func(s *memorySocket, v [][]byte, tmo time.Duration) (int64, error) { return n, nil }
		}
	}
	for _, f := range []fault{
		{"Read counts too much", readsN(9, nil), read, "Read", ErrContract},
		{"Read counts too much beside an error", readsN(9, syscall.EIO), read, "Read", ErrContract},
		{"Read counts below zero", readsN(-1, nil), read, "Read", ErrContract},
		{"Read counts far below zero", readsN(-2, syscall.EIO), read, "Read", ErrContract},
		{"Write counts too much", writesN(9, nil), write, "Write", ErrContract},
		{"Write counts more than its buffer of a vector", writesN(5, nil), writev, "Write", ErrContract},
		{"Write counts more than its buffer beside an error", writesN(5, syscall.EIO), writev, "Write", ErrContract},
		{"Write counts nothing", writesN(0, nil), write, "Write", ErrContract},
		{"Write counts below zero", writesN(-1, nil), write, "Write", ErrContract},
		{"Write counts far below zero", writesN(-2, syscall.EIO), write, "Write", ErrContract},
		{"Writev counts too much", writesVN(9), writev, "Writev", ErrContract},
		{"Writev counts nothing", writesVN(0), writev, "Writev", ErrContract},
		{"Read panics", reads(panics), read, "Read", ErrPanic},
		{"Write panics", writes(panics), write, "Write", ErrPanic},
		{"Pending panics", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.Pending = func(*memorySocket) (int, error) { panic("pending") }
		}, func(c *Stream) error { _, err := c.PendingBytes(); return err }, "Pending", ErrPanic},
		{"Pending counts below zero", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.Pending = func(*memorySocket) (int, error) { return -1, nil }
		}, func(c *Stream) error { _, err := c.PendingBytes(); return err }, "Pending", ErrContract},
		{"a header of 3 bytes", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.HandshakePacketHeaderSize = func(*memorySocket) (int, error) { return 3, nil }
		}, func(c *Stream) error { _, err := c.HandshakePacketHeaderSize(soon(t)); return err }, "HandshakePacketHeaderSize", ErrContract},
		{"frames with a header of 2 bytes", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.FrameHeaderSize = func(*memorySocket) (int, error) { return 2, nil }
		}, func(c *Stream) error { return c.HandshakeComplete(soon(t), true) }, "FrameHeaderSize", ErrContract},
		{"a hook panics", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.ConnectHandshakeComplete = func(*memorySocket) error { panic("hook") }
		}, func(c *Stream) error { return c.HandshakeComplete(soon(t), true) }, "ConnectHandshakeComplete", ErrPanic},
		{"CheckPeer panics", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.CheckPeer = func(*memorySocket, string) error { panic("check") }
		}, func(c *Stream) error { return c.CheckPeer(soon(t), "n@h") }, "CheckPeer", ErrPanic},
		{"the descriptor appears", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.GetFD = func(s *memorySocket) (int, error) {
				if bad(s) {
					return 1, nil
				}
				return -1, errors.ErrUnsupported
			}
		}, func(c *Stream) error { _, err := c.Descriptor(); return err }, "GetFD", ErrContract},
		{"the descriptor is not open", func(cb *Callbacks[*memorySocket], bad func(*memorySocket) bool) {
			cb.GetFD = func(s *memorySocket) (int, error) {
				if bad(s) {
					return 1 << 20, nil
				}
				return -1, errors.ErrUnsupported
			}
		}, func(c *Stream) error { _, err := c.Descriptor(); return err }, "GetFD", ErrContract},
	} {
		t.Run(f.name, func(t *testing.T) {
			var victim atomic.Pointer[memorySocket]
			cb := memoryCallbacks()
			f.breakIt(&cb, func(s *memorySocket) bool { return s == victim.Load() })
			c, _ := pairOf(t, cb)
			c2, s2 := pairOf(t, cb)
			victim.Store(c.car.(*full[*memorySocket]).c)
			err := expect.Returns(t, expect.Aside(func() error { return f.use(c) }))
			cbErr := expect.As[*CallbackError](t, err)
			require.ErrorIs(t, err, f.want)
			require.Equal(t, f.callback, cbErr.Callback)
			require.Contains(t, err.Error(), f.callback)
			victim.Store(nil)
			_ = expect.Returns(t, expect.Aside(c.Close))

			requireWrites(t, c2, "x")
			require.NoError(t, expect.Err(s2.Readv(soon(t), make([]byte, 1))))
		})
	}
}

// A Writev may pass its vector to one system call, which takes no more than 1,024 buffers.
func TestWritevOfManyBuffers(t *testing.T) {
	cb := memoryCallbacks()
	cb.Writev = func(s *memorySocket, v [][]byte, tmo time.Duration) (n int64, err error) {
		if len(v) > 1024 {
			return 0, syscall.EINVAL
		}
		k, err := memoryCallbacks().Write(s, slices.Concat(v...), tmo)
		return int64(k), err
	}
	c, s := pairOf(t, cb)
	v := slices.Repeat([][]byte{[]byte("xy")}, 3000)
	written := expect.Aside(func() error { _, err := c.Writev(soon(t), v...); return err })
	got := make([]byte, 6000)
	require.NoError(t, expect.Err(s.Readv(soon(t), got)))
	require.NoError(t, expect.Returns(t, written))
	require.Equal(t, strings.Repeat("xy", 3000), string(got))
}

// A Writev that changes its vector breaks the contract: the rest of the vector would not be the
// bytes that are still to be written.
func TestWritevChangesVector(t *testing.T) {
	for name, writev := range map[string]func(v [][]byte) (int64, error){
		"all": func(v [][]byte) (int64, error) {
			b := net.Buffers(v)
			return b.WriteTo(io.Discard)
		},
		"a part": func(v [][]byte) (int64, error) {
			v[0] = v[0][2:]
			return 2, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			cb := memoryCallbacks()
			cb.Writev = func(_ *memorySocket, v [][]byte, _ time.Duration) (int64, error) { return writev(v) }
			c, _ := pairOf(t, cb)
			mine := [][]byte{[]byte("1234"), []byte("5678")}
			_, err := c.Writev(soon(t), mine...)
			require.ErrorIs(t, err, ErrContract)
			require.ErrorContains(t, err, "plug-in callback Writev: ")
			require.ErrorContains(t, err, "it has changed the vector")
			require.Equal(t, [][]byte{[]byte("1234"), []byte("5678")}, mine, "its caller's own")
		})
	}
}

// A hook's error closes the connection.
func TestHookError(t *testing.T) {
	refused := errors.New("refused by the hook")
	for _, initiated := range []bool{true, false} {
		cb := memoryCallbacks()
		hook := func(*memorySocket) error { return refused }
		cb.ConnectHandshakeComplete, cb.AcceptHandshakeComplete = hook, hook
		c, s := pairOf(t, cb)
		if !initiated {
			c, s = s, c
		}
		require.ErrorIs(t, c.HandshakeComplete(soon(t), initiated), refused)
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
		require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), net.ErrClosed)
	}
}

// Export runs alone: neither beside the Interrupt of a pause whose read has ended, nor beside
// CloseWrite and the like.
func TestExportRunsAlone(t *testing.T) {
	var inside, met atomic.Int32
	holds := make(chan struct{})
	enter := func(holds <-chan struct{}) {
		if inside.Add(1) > 1 {
			met.Add(1)
		}
		<-holds
		inside.Add(-1)
	}
	cb := memoryCallbacks()
	interrupt := cb.Interrupt
	cb.Interrupt = func(s *memorySocket) { interrupt(s); enter(holds) }
	cb.CloseWrite = func(*memorySocket) error { enter(holds); return nil }
	cb.Pending = func(*memorySocket) (int, error) { enter(holds); return 0, nil }
	var exports chan struct{}
	cb.Export = func(*memorySocket) ([]byte, error) { enter(exports); return nil, nil }
	cb.Import = func(any, int, []byte) (*memorySocket, error) { return nil, errors.ErrUnsupported }
	free := make(chan struct{})
	close(free)
	for name, beside := range map[string]func(c *Stream) <-chan error{
		"the Interrupt of a pause": func(c *Stream) <-chan error {
			read := expect.Aside(func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
			expect.WaitsIn(t, "select", "(*memoryPipe).until")
			require.NoError(t, c.PauseRead(soon(t)))
			require.ErrorIs(t, expect.Returns(t, read), ErrPaused)
			done := make(chan error, 1)
			done <- nil
			return done
		},
		"CloseWrite": func(c *Stream) <-chan error { return expect.Aside(c.CloseWrite) },
		"Pending": func(c *Stream) <-chan error {
			return expect.Aside(func() error { return expect.Err(c.PendingBytes()) })
		},
	} {
		export := func(c *Stream) <-chan error {
			return expect.Aside(func() error { _, _, err := c.Export(); return err })
		}
		c, _ := pairOf(t, cb)
		holds, exports = make(chan struct{}), free
		done := beside(c)
		waiting(t, &inside, 1)
		exported := export(c)
		expect.WaitsIn(t, "sync.RWMutex.Lock", "export(")
		close(holds)
		require.NoError(t, expect.Returns(t, done), name)
		require.NoError(t, expect.Returns(t, exported), name)
		c.Resume()

		if name == "the Interrupt of a pause" {
			continue // there is no read to pause
		}
		holds, exports = free, make(chan struct{})
		exported = export(c)
		waiting(t, &inside, 1)
		done = beside(c)
		expect.WaitsIn(t, "sync.RWMutex.RLock", "beside(")
		close(exports)
		require.NoError(t, expect.Returns(t, done), name)
		require.NoError(t, expect.Returns(t, exported), name)
	}
	require.Zero(t, met.Load(), "met something beside it")
}

// Close and Release have a second of their own, after that of the calls in flight.
func TestCloseHasItsSecond(t *testing.T) {
	const most = unresponsiveAfter
	for _, tt := range []struct {
		name        string
		read, takes time.Duration // how long a Read in flight and the callback take
		exits       bool
		want        error
	}{
		{"in time", 0, most - 1, false, nil},
		{"after a call in flight", most - 1, most - 1, false, nil},
		{"too late", 0, most + 1, false, ErrUnresponsive},
		{"ends its goroutine", 0, 0, true, ErrPanic},
	} {
		for callback, end := range map[string]func(*Stream) error{"Close": (*Stream).Close, "Release": (*Stream).Release} {
			t.Run(tt.name+" "+callback, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cb := memoryCallbacks()
					var mine atomic.Pointer[memorySocket]
					closing := cb.Close
					last := func(s *memorySocket) error {
						if s == mine.Load() {
							time.Sleep(tt.takes)
							defer closing(s)
							if tt.exits {
								runtime.Goexit()
							}
							return nil
						}
						return closing(s)
					}
					cb.Close, cb.Release = last, last
					told := make(chan struct{}, 1)
					cb.Interrupt = func(*memorySocket) {
						select {
						case told <- struct{}{}:
						default:
						}
					}
					cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) {
						<-told
						time.Sleep(tt.read)
						return 0, os.ErrDeadlineExceeded
					}
					c, _ := pairOf(t, cb)
					mine.Store(c.car.(*full[*memorySocket]).c)
					read := expect.Aside(func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
					synctest.Wait()
					began := time.Now()
					err := end(c)
					require.Equal(t, tt.read+min(tt.takes, most), time.Since(began))
					require.ErrorIs(t, <-read, net.ErrClosed)
					require.ErrorIs(t, err, tt.want)
					if tt.want != nil {
						fault := expect.As[*CallbackError](t, err)
						require.Equal(t, callback, fault.Callback)
					}
					time.Sleep(most) // one that is late comes back
				})
			})
		}
	}
}

// Callbacks that are called once by the contract are not repeated after EINTR: an interrupted
// close(2) may have freed the number, and another file may have it by now.
func TestCalledOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		call func(c *Stream) error
		want error
	}{
		"Close":                     {(*Stream).Close, nil},
		"Release":                   {(*Stream).Release, nil},
		"ConnectHandshakeComplete":  {func(c *Stream) error { return c.HandshakeComplete(soon(t), true) }, syscall.EINTR},
		"AcceptHandshakeComplete":   {func(c *Stream) error { return c.HandshakeComplete(soon(t), false) }, syscall.EINTR},
		"CheckPeer":                 {func(c *Stream) error { return c.CheckPeer(soon(t), "n@h") }, syscall.EINTR},
		"HandshakePacketHeaderSize": {func(c *Stream) error { return expect.Err(c.HandshakePacketHeaderSize(soon(t))) }, syscall.EINTR},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			count := func(is bool) error {
				if is && calls.Add(1) == 1 {
					return syscall.EINTR
				}
				return nil
			}
			cb := memoryCallbacks()
			var mine *memorySocket
			closing := cb.Close
			cb.Close = func(s *memorySocket) error { return errors.Join(count(name == "Close" && s == mine), closing(s)) }
			cb.Release = func(s *memorySocket) error { return errors.Join(count(name == "Release"), closing(s)) }
			cb.ConnectHandshakeComplete = func(*memorySocket) error { return count(name == "ConnectHandshakeComplete") }
			cb.AcceptHandshakeComplete = func(*memorySocket) error { return count(name == "AcceptHandshakeComplete") }
			cb.CheckPeer = func(*memorySocket, string) error { return count(name == "CheckPeer") }
			cb.HandshakePacketHeaderSize = func(*memorySocket) (int, error) { return 2, count(name == "HandshakePacketHeaderSize") }
			c, _ := pairOf(t, cb)
			mine = c.car.(*full[*memorySocket]).c
			require.ErrorIs(t, tt.call(c), tt.want)
			require.EqualValues(t, 1, calls.Load())
		})
	}
}

func TestCheckPeerRefusesAndTimesOut(t *testing.T) {
	t.Parallel()
	refused := errors.New("not you")
	cb := memoryCallbacks()
	cb.CheckPeer = func(_ *memorySocket, name string) error {
		if name == "bad@host" {
			return refused
		}
		return nil
	}
	c, s := pairOf(t, cb)
	require.NoError(t, c.HandshakeComplete(soon(t), true), "no hook is no error")
	require.NoError(t, s.HandshakeComplete(soon(t), false))
	require.NoError(t, c.CheckPeer(soon(t), "good@host"))
	require.ErrorIs(t, c.CheckPeer(soon(t), "bad@host"), refused)

	// A hook that does not come back is left behind when its time is over.
	release := make(chan struct{})
	defer close(release)
	cb.CheckPeer = func(*memorySocket, string) error { <-release; return nil }
	c, _ = pairOf(t, cb)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	require.ErrorIs(t, expect.Returns(t, expect.Aside(func() error { return c.CheckPeer(ctx, "n@h") })), ErrUnresponsive)
	require.ErrorIs(t, expect.Returns(t, expect.Aside(c.Close)), ErrUnresponsive)
}

// A hook that does not come back is left behind a second after the socket's end, or after it was
// begun under NoWait.
func TestHookLeftBehind(t *testing.T) {
	for name, tt := range map[string]struct {
		ctx  context.Context
		ends time.Duration // when the stream is closed
		want time.Duration
	}{
		"Close": {context.Background(), time.Minute, time.Minute + unresponsiveAfter},
		// an error closes the stream, which takes its second, too
		"NoWait": {NoWait(), time.Hour, 2 * unresponsiveAfter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cb := memoryCallbacks()
				release := make(chan struct{})
				defer time.Sleep(2 * time.Hour) // until all is over
				defer close(release)
				cb.ConnectHandshakeComplete = func(*memorySocket) error { <-release; return nil }
				c, _ := pairOf(t, cb)
				begin := time.Now()
				time.AfterFunc(tt.ends, func() { _ = c.Close() })
				require.ErrorIs(t, c.HandshakeComplete(tt.ctx, true), ErrUnresponsive)
				require.Equal(t, tt.want, time.Since(begin))
			})
		})
	}
}
