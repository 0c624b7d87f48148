//go:build unix

package transport

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// PendingBytes of a connection that has failed counts what had come before, and then fails, whoever
// is told of it first: a read, a write, or PendingBytes itself. It takes the error from nobody.
func TestPendingBytesOfBrokenStream(t *testing.T) {
	ends := func(s *Stream) {
		t.Helper()
		require.Eventually(t, func() bool { _, err := s.PendingBytes(); return errors.Is(err, syscall.ECONNRESET) },
			tooLong, time.Millisecond)
	}
	t.Run("nobody has been told", func(t *testing.T) {
		s, reset := resettable(t, TCP(), "abc")
		require.Eventually(t, func() bool { n, err := s.PendingBytes(); return err == nil && n == 3 }, tooLong, time.Millisecond)
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 3))))
		require.Zero(t, pendingOf(t, s))
		reset()
		ends(s)
		ends(s)
		for range 2 {
			require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
			ends(s)
		}
		require.Error(t, expect.Err(s.Writev(soon(t), []byte("x"))))
	})
	t.Run("read ahead", func(t *testing.T) {
		s, reset := resettable(t, TCP(), "abc")
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
		reset()
		require.Error(t, expect.Err(s.Readv(soon(t), make([]byte, 3))))
		require.Equal(t, 2, pendingOf(t, s))
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 2))))
		ends(s)
	})
	t.Run("a write", func(t *testing.T) {
		s, reset := resettable(t, TCP(), "")
		reset()
		require.Eventually(t, func() bool { return expect.Err(s.Writev(soon(t), []byte("x"))) != nil }, tooLong, time.Millisecond)
		ends(s)
	})
	t.Run("a peer of a UNIX socket that has not read everything", func(t *testing.T) {
		c, s := pair(t, Unix(), socketPath(t))
		requireWrites(t, s, "unread")
		require.NoError(t, c.Close())
		ends(s)
		require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
	})
	t.Run("FullImpl", func(t *testing.T) {
		cb := memoryCallbacks()
		failed := errors.New("the tunnel has gone")
		cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) { return 0, failed }
		c, _ := pairOf(t, cb)
		require.Zero(t, pendingOf(t, c))
		require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), failed)
		require.ErrorIs(t, expect.Err(c.PendingBytes()), failed)
	})
	t.Run("ended in good order", func(t *testing.T) {
		c, s := pair(t, TCP(), loopback())
		require.NoError(t, c.Close())
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
		require.Zero(t, pendingOf(t, s))
	})
}

// However a read and PendingBytes race for what the system tells once, the read ends with the
// reset.
func TestPendingBytesBesideReset(t *testing.T) {
	for range 200 {
		s, reset := resettable(t, TCP(), "")
		read := expect.Aside(func() error { return expect.Err(s.Read(context.Background(), make([]byte, 1))) })
		asked := expect.Aside(func() error {
			for {
				if _, err := s.PendingBytes(); err != nil {
					return err
				}
			}
		})
		reset()
		require.ErrorIs(t, expect.Returns(t, read), syscall.ECONNRESET)
		require.ErrorIs(t, expect.Returns(t, asked), syscall.ECONNRESET)
		require.NoError(t, s.Close())
	}
}

func pendingOf(t *testing.T, s *Stream) int {
	t.Helper()
	return expect.NoError(s.PendingBytes()).In(t)
}

// A peer that has ended its sending can still read: a write for which it has no room waits, without
// trying over and over, and goes on when the peer reads. When the peer has closed, it fails.
func TestWriteToHalfClosedPeer(t *testing.T) {
	for name, over := range carriers(t) {
		for _, reads := range []bool{true, false} {
			var tries atomic.Int64
			switch name {
			case "tcp":
				over.tr = counting(t, TCPCallbacks(), &tries)
			case "unix":
				over.tr = counting(t, UnixCallbacks(), &tries)
			}
			t.Run(name, func(t *testing.T) {
				c, s := pair(t, over.tr, over.at)
				v := make([]byte, 16<<20)
				write := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), v)) })
				expect.WaitsIn(t, "", "(*Stream).Writev(")
				require.NoError(t, s.CloseWrite())
				require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
				for deadline := time.Now().Add(tooLong); ; { // the first tries may take a while
					before := tries.Load()
					select {
					case err := <-write:
						require.FailNow(t, "the write has ended", "%v", err)
					case <-time.After(100 * time.Millisecond):
					}
					if tries.Load()-before <= 2 {
						break
					}
					require.True(t, time.Now().Before(deadline), "it tries over and over")
				}
				if reads {
					require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(v)))))
					require.NoError(t, expect.Returns(t, write))
					return
				}
				require.NoError(t, s.Close())
				err := expect.Returns(t, write)
				require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), "%v", err)
			})
		}
	}
}

// counting is a plug-in whose writes are counted.
func counting[C any](t *testing.T, cb Callbacks[C], tries *atomic.Int64) Transport {
	t.Helper()
	write := cb.Write
	cb.Writev = nil
	cb.Write = func(c C, p []byte, tmo time.Duration) (int, error) { tries.Add(1); return write(c, p, tmo) }
	return expect.NoError(New(cb, nil)).In(t)
}
