package transport

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/scarce"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Streams from Import sleep with one descriptor for all of them, and work.
func TestImportPreparesSleep(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		requireSpeakOnce(t, tr, at)
		var peers, moved []*Stream
		var dups []int
		for range 3 {
			c, s := pair(t, tr, at)
			peers, dups = append(peers, c), append(dups, duplicate(t, s))
			require.NoError(t, s.Release())
		}
		before := leak.Descriptors()
		for _, dup := range dups {
			s := expect.NoError(tr.Import(dup, nil)).In(t)
			require.Equal(t, 1, opened(t, before))
			moved = append(moved, s)
		}
		for i, s := range moved {
			requireSpeak(t, peers[i], s)
			require.NoError(t, s.Close())
		}
		require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, tooLong, time.Millisecond)
	})
}

// A connection that cannot be imported for lack of descriptors is still there, and can be imported
// once there are some.
func TestImportWithoutDescriptors(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		c, s := pair(t, tr, at)
		dup := duplicate(t, s)
		require.NoError(t, s.Release())
		enough := scarce.Descriptors(t, 0)
		_, err := tr.Import(dup, nil)
		enough()
		require.ErrorIs(t, err, syscall.EMFILE)
		moved := expect.NoError(tr.Import(dup, nil)).In(t)
		requireSpeak(t, c, moved)
		require.NoError(t, moved.Close())
	})
}

// A descriptor that cannot be imported stays the caller's, however far the import has come.
func TestImportFailed(t *testing.T) {
	for name, spoil := range map[string]func(*Callbacks[int]){
		"Import": func(cb *Callbacks[int]) {
			cb.Import = func(any, int, []byte) (int, error) { return -1, syscall.EPROTO }
		},
		"panics": func(cb *Callbacks[int]) { cb.Import = func(any, int, []byte) (int, error) { panic("import") } },
		"later":  func(cb *Callbacks[int]) { cb.GetFD = func(int) (int, error) { return -1, syscall.EPROTO } },
		"never":  func(cb *Callbacks[int]) { cb.Import = nil },
	} {
		for by, adopt := range map[string]func(Transport, int) error{
			"Import":         func(tr Transport, fd int) error { _, err := tr.Import(fd, nil); return err },
			"ImportListener": func(tr Transport, fd int) error { _, err := tr.ImportListener(fd); return err },
		} {
			t.Run(name+" "+by, func(t *testing.T) {
				cb := TCPCallbacks()
				spoil(&cb)
				tr := expect.NoError(New(cb, nil)).In(t)
				fds := expect.NoError(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)).In(t)
				before := leak.Descriptors()
				require.Error(t, adopt(tr, fds[0]))
				require.Empty(t, leak.Left(before))
				require.NoError(t, unix.Close(fds[0]))
				require.NoError(t, unix.Close(fds[1]))
			})
		}
	}
}

// Import must not close a descriptor that it refuses. If it does, the number is left alone, for
// another file may have it by now.
func TestImportClosesWhatItRefuses(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	reused := -1
	cb := TCPCallbacks()
	cb.Import = func(_ any, fd int, _ []byte) (int, error) {
		reused = fd
		return -1, errors.Join(unix.EPERM, unix.Dup3(p[0], fd, unix.O_CLOEXEC))
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	dup := duplicate(t, s)
	_, err := tr.Import(dup, nil)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorIs(t, err, ErrContract)
	require.True(t, sys.SameFile(reused, p[0]), "the SDK has closed what is somebody else's")
	require.NoError(t, unix.Close(reused))
	require.NoError(t, unix.Close(dup))
	requireSpeak(t, c, s)

	cb.Import = func(_ any, fd int, _ []byte) (int, error) { return -1, errors.Join(unix.EPERM, unix.Close(fd)) }
	tr = expect.NoError(New(cb, nil)).In(t)
	dup = duplicate(t, s)
	require.ErrorIs(t, expect.Err(tr.Import(dup, nil)), ErrContract)
	require.NoError(t, unix.Close(dup))
}

// A connection that its peer has reset can be imported, too: its next read finds that out.
func TestImportReset(t *testing.T) {
	for name, tr := range map[string]Transport{"tcp": TCP(), "of the same callbacks": made(t, TCPCallbacks())} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, tr, loopback())
			fd := duplicate(t, s)
			require.NoError(t, c.Abort())
			awaitEvent(t, fd)
			moved := expect.NoError(tr.Import(fd, nil)).In(t)
			require.NoError(t, s.Release())
			require.ErrorIs(t, expect.Err(moved.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
			require.NoError(t, moved.Close())
		})
	}
}

// awaitEvent waits until there is something to read, or the connection has ended.
func awaitEvent(t *testing.T, fd int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 10_000)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return
	}
}

// A pause and its end make no descriptor for sleeping; a queue that is staged with bytes to send
// has it before it goes on.
func TestPausePreparesNothing(t *testing.T) {
	requireSpeakOnce(t, TCP(), loopback())
	before := leak.Descriptors()
	c, s := pair(t, TCP(), loopback())
	q := newPostQueue(c, nil)
	for range 2 {
		require.NoError(t, c.PauseRead(soon(t)))
		require.NoError(t, q.Hold(soon(t)))
		q.Unhold()
		c.Resume()
	}
	require.Equal(t, 2, opened(t, before))
	requireSpeak(t, c, s)

	moved := expect.NoError(TCP().Import(duplicate(t, c), nil)).In(t)
	for own, held := range []string{"", "rest"} {
		require.NoError(t, newPostQueue(moved, nil).Stage(soon(t), []byte(held)))
		require.Equal(t, 4+own, opened(t, before))
		moved.resumeWrite()
	}
	require.NoError(t, moved.Close())
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, tooLong, time.Millisecond)
}
