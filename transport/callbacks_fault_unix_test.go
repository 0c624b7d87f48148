//go:build unix

package transport

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A callback that blocks for ever, where the SDK does the waiting: Close gives up after its second
// and says so, C is never closed under the callback, and other sockets are unharmed.
func TestCallbackBlocks(t *testing.T) {
	for _, name := range []string{"Read", "Write", "Writev", "CloseWrite", "Pending", "LocalAddr", "Close", "GetFD"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			var inside, closed, under atomic.Int32
			var victim atomic.Int32
			victim.Store(-1)
			block := func(fd int) {
				if int32(fd) == victim.Load() {
					inside.Add(1)
					<-release
					under.Add(closed.Load())
				}
			}
			cb := TCPCallbacks()
			read, write, writev, closing := cb.Read, cb.Write, cb.Writev, cb.Close
			cb.Close = func(fd int) error {
				if int32(fd) == victim.Load() {
					if name == "Close" {
						block(fd)
					} else {
						closed.Add(1)
						return nil
					}
				}
				return closing(fd)
			}
			switch name {
			case "Read":
				cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) { block(fd); return read(fd, p, tmo) }
			case "Write":
				cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) { block(fd); return write(fd, p, tmo) }
			case "Writev":
				cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) { block(fd); return writev(fd, v, tmo) }
			case "CloseWrite":
				cb.CloseWrite = func(fd int) error { block(fd); return nil }
			case "Pending":
				cb.Pending = func(fd int) (int, error) { block(fd); return 0, nil }
			case "LocalAddr":
				cb.LocalAddr = func(fd int) (Addr, error) { block(fd); return nil, nil }
			case "GetFD":
				cb.GetFD = func(fd int) (int, error) { block(fd); return fd, nil }
			}
			c, s := pairOf(t, cb)
			c2, s2 := pairOf(t, cb)
			fd := c.car.(*ready[int]).c
			victim.Store(int32(fd))
			use := map[string]func() error{
				"Read":       func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err },
				"Write":      func() error { _, err := c.Writev(context.Background(), []byte("x")); return err },
				"Writev":     func() error { _, err := c.Writev(context.Background(), []byte("x"), []byte("y")); return err },
				"CloseWrite": c.CloseWrite,
				"Pending":    func() error { return expect.Err(c.PendingBytes()) },
				"LocalAddr":  func() error { c.LocalAddr(); return nil },
			}[name]
			var used <-chan error
			if use != nil {
				used = expect.Aside(use)
				waiting(t, &inside, 1)
			}
			err := expect.Returns(t, expect.Aside(c.Close))
			require.ErrorIs(t, err, ErrUnresponsive)
			fault := expect.As[*CallbackError](t, err)
			if name != "GetFD" { // which Close calls
				require.Equal(t, name, fault.Callback)
			}
			require.Zero(t, closed.Load(), "C was closed under a running callback")

			require.NoError(t, expect.Err(c2.Writev(soon(t), []byte("un"), []byte("harmed"))))
			require.NoError(t, expect.Err(s2.Readv(soon(t), make([]byte, 8))))
			require.NoError(t, expect.Returns(t, expect.Aside(c2.Close)))
			require.NoError(t, s.Close())

			close(release)
			if used != nil {
				_ = expect.Returns(t, used)
			}
			require.Zero(t, under.Load())
			require.Eventually(t, func() bool { return inside.Load() >= 1 }, tooLong, time.Millisecond)
			switch name {
			case "Close": // it has closed the socket by now
			case "GetFD": // it has come back, so that Close can go on
				waiting(t, &closed, 1)
				fallthrough
			default:
				require.NoError(t, unix.Close(fd), "it was left open")
			}
		})
	}
}

// A descriptor that changes is found out when it is asked for, by the handshake's hooks, and by
// Close.
func TestDescriptorChanges(t *testing.T) {
	for name, use := range map[string]func(c *Stream) error{
		"Descriptor": func(c *Stream) error { _, err := c.Descriptor(); return err },
		"hook":       func(c *Stream) error { return c.HandshakeComplete(context.Background(), true) },
		"Close":      func(c *Stream) error { return c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			var other atomic.Int32
			cb := TCPCallbacks()
			var victim atomic.Int32
			victim.Store(-1)
			cb.GetFD = func(fd int) (int, error) {
				if int32(fd) == victim.Load() {
					return int(other.Load()), nil
				}
				return fd, nil
			}
			c, s := pairOf(t, cb)
			fd := expect.NoError(s.Descriptor()).In(t)
			other.Store(int32(fd))
			victim.Store(int32(c.car.(*ready[int]).c))
			err := use(c)
			require.ErrorIs(t, err, ErrContract)
			fault := expect.As[*CallbackError](t, err)
			require.Equal(t, "GetFD", fault.Callback)
			require.ErrorContains(t, err, "changed")
			if name == "Descriptor" {
				_, err = c.Writev(soon(t), []byte("x"))
				require.ErrorIs(t, err, ErrContract, "the socket is of no use any more")
			}
			_ = c.Close()
			require.NoError(t, expect.Err(s.Writev(soon(t), []byte("x"))), "the other one is unharmed")
		})
	}
}

// A descriptor that cannot be waited on is told as the plug-in's fault, and so is one in blocking
// mode, which is not a lack of memory.
func TestDescriptorOfNoUse(t *testing.T) {
	null := expect.Open(os.Open(os.DevNull)).In(t)
	for want, get := range map[string]func(fd int) (int, error){
		"cannot be waited on": func(int) (int, error) { return int(null.Fd()), nil },
		"blocking mode":       func(fd int) (int, error) { return fd, unix.SetNonblock(fd, false) },
	} {
		cb := TCPCallbacks()
		cb.GetFD = get
		err := expect.Err(expect.NoError(New(cb, nil)).In(t).Listen(loopback(), 0))
		require.ErrorIs(t, err, ErrContract)
		require.ErrorContains(t, err, want)
	}
}

// The SDK sets the mode of what the plug-in opens, and of nothing under FullImpl.
func TestDescriptorMode(t *testing.T) {
	mode := func(s interface{ Descriptor() (int, error) }) bool {
		fd := expect.NoError(s.Descriptor()).In(t)
		flags := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)).In(t)
		return flags&unix.O_NONBLOCK != 0
	}
	c, s := pair(t, TCP(), loopback())
	require.True(t, mode(c))
	require.True(t, mode(s))

	cb := TCPCallbacks()
	cb.Flags = FullImpl
	tr := expect.NoError(New(cb, nil)).In(t)
	l := expect.Open(tr.Listen(loopback(), 0)).In(t)
	require.False(t, mode(l))
	c = expect.Open(tr.Connect(soon(t), l.Addr())).In(t)
	require.False(t, mode(c))
	s = expect.Open(l.Accept(soon(t))).In(t)
	require.False(t, mode(s))
}
