//go:build unix

package transport

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// duplicate makes the descriptor that another process would get.
func duplicate(t *testing.T, of interface{ Descriptor() (int, error) }) int {
	fd := expect.NoError(of.Descriptor()).In(t)
	return expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)).In(t)
}

// overSockets runs a test over TCP and over UNIX sockets.
func overSockets(t *testing.T, test func(t *testing.T, tr Transport, at Addr)) {
	for name, over := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "unix": {Unix(), socketPath(t)}} {
		t.Run(name, func(t *testing.T) { test(t, over.tr, over.at) })
	}
}

func TestStreamMovesWithBytesReadAhead(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		require.True(t, tr.Movable())
		c, s := pair(t, tr, at)
		requireWrites(t, c, "read, read ahead, in the kernel")
		b := make([]byte, 4)
		require.NoError(t, expect.Err(s.Readv(soon(t), b)))
		dup := duplicate(t, s)
		state, ahead, err := s.Export()
		require.NoError(t, err)
		moved := expect.Open(tr.Import(dup, state)).In(t)
		require.NoError(t, moved.Preload(ahead))
		require.NoError(t, s.Release())
		require.NoError(t, s.Release(), "once and again")
		_, err = c.Read(NoWait(), b)
		require.True(t, isTimeout(err), "the peer sees nothing")
		requireReads(t, moved, ", read ahead, in the kernel")
		require.NoError(t, moved.Close())
		require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), b)))
	})
}

// The result of Export belongs to the caller: later reads do not change it.
func TestExportGivesACopy(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	requireWrites(t, c, "abcd")
	require.Eventually(t, func() bool { n, err := s.PendingBytes(); return err == nil && n == 4 }, tooLong, time.Millisecond)
	requireReads(t, s, "a")
	_, ahead, err := s.Export()
	require.NoError(t, err)
	requireReads(t, s, "bcd")
	requireWrites(t, c, "wxyz")
	requireReads(t, s, "wxyz")
	require.Equal(t, "bcd", string(ahead))
}

func TestMoveListener(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		l := expect.NoError(tr.Listen(at, 0)).In(t)
		moved := expect.NoError(tr.ImportListener(duplicate(t, l))).In(t)
		require.Equal(t, l.Addr(), moved.Addr())
		require.NoError(t, l.Release())
		expect.Open(tr.Connect(soon(t), moved.Addr())).In(t)
		expect.Open(moved.Accept(soon(t))).In(t)
		require.NoError(t, moved.Close())
		if u, ok := at.(UnixAddr); ok {
			require.NoFileExists(t, u.Path(), "the new owner's Close removes the path")
			require.ErrorIs(t, expect.Err(os.Stat(u.Path())), os.ErrNotExist)
		}
	})
}

// A connection that moves is no listener: at its end the path at which it was accepted stays.
func TestMovedConnectionLeavesPath(t *testing.T) {
	at := socketPath(t)
	l := expect.Open(Unix().Listen(at, 0)).In(t)
	c, s := acceptOne(t, l, func() (*Stream, error) { return Unix().Connect(soon(t), at) })
	defer c.Close()
	moved := expect.NoError(Unix().Import(duplicate(t, s), nil)).In(t)
	require.NoError(t, s.Release())
	require.Equal(t, at, moved.LocalAddr(), "where the listener is")
	require.NoError(t, moved.Close())
	require.FileExists(t, at.(UnixAddr).Path())
	again := expect.NoError(Unix().Connect(soon(t), at)).In(t)
	require.NoError(t, again.Close())
}

// The hooks of TCP switch keep-alive on, as the C library's do.
func TestKeepAlive(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	keepsAlive := func(s *Stream) bool {
		fd := expect.NoError(s.Descriptor()).In(t)
		on := expect.NoError(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)).In(t)
		return on != 0
	}
	require.False(t, keepsAlive(c))
	require.NoError(t, c.HandshakeComplete(soon(t), true))
	require.NoError(t, s.HandshakeComplete(soon(t), false))
	require.True(t, keepsAlive(c))
	require.True(t, keepsAlive(s))
	for _, s := range []*Stream{c, s} {
		require.Equal(t, 2, expect.NoError(s.HandshakePacketHeaderSize(soon(t))).In(t))
		fd := expect.NoError(s.Descriptor()).In(t)
		on := expect.NoError(unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)).In(t)
		require.NotZero(t, on, "messages go out as they come")
	}
}

// A listener that cannot be imported keeps its path.
func TestImportFailedLeavesPath(t *testing.T) {
	broken := UnixCallbacks()
	broken.GetFD = func(*UnixSocket) (int, error) { return -1, unix.EIO }
	at := socketPath(t)
	l := expect.Open(Unix().Listen(at, 0)).In(t)
	dup := duplicate(t, l)
	require.ErrorIs(t, expect.Err(made(t, broken).ImportListener(dup)), unix.EIO)
	require.NoError(t, unix.Close(dup))
	c := expect.NoError(Unix().Connect(soon(t), at)).In(t)
	require.NoError(t, c.Close())
}

func made[C any](t *testing.T, cb Callbacks[C]) Transport {
	t.Helper()
	return expect.NoError(New(cb, nil)).In(t)
}
