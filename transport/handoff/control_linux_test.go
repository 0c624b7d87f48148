package handoff

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// An empty packet is a message, and not the end of a channel.
func TestEmptyPacket(t *testing.T) {
	one, other := channels(t)
	require.NoError(t, one.conn.Send(fdtest.Soon(t), nil))
	require.ErrorIs(t, other.Wait(fdtest.Briefly(t)), context.DeadlineExceeded)
	require.NoError(t, one.conn.Send(fdtest.Soon(t), nil))
	require.NoError(t, one.Close())
	require.NoError(t, other.Wait(fdtest.Soon(t)))
}

// Peer is the process that has sent the last packet, even if Hear received that packet.
func TestHearPeer(t *testing.T) {
	fdtest.NoLeak(t)
	for name, said := range map[string][]byte{
		"ask":   append([]byte{kindAsk}, appendWords(nil, []string{"status"})...),
		"hello": appendHello([]byte{kindHello}, hello{minVersion, maxVersion, 1, Terms{}}),
	} {
		t.Run(name, func(t *testing.T) {
			one, other := fdtest.Pair(t, unix.SOCK_SEQPACKET)
			raw, err := one.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { err = passCredentials(int(fd), true) }))
			require.NoError(t, err)
			require.NoError(t, conn(t, other).Send(fdtest.Soon(t), said))
			v := expect.NoError(Hear(fdtest.Soon(t), one)).In(t)
			require.Equal(t, self, v.Channel().Peer(), "and not nobody, as of a pair that was made here")
			require.NoError(t, v.Close())
		})
	}
}

// A process that keeps the directory locked, as flock(1) does around a whole service, does not
// prevent listening there.
func TestControlInALockedDirectory(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	fd := expect.NoError(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)).In(t)
	defer unix.Close(fd)
	require.NoError(t, unix.Flock(fd, unix.LOCK_EX))
	listens := make(chan error, 1)
	go func() {
		c, err := ListenControl(filepath.Join(dir, "control"))
		if err == nil {
			err = c.Close()
		}
		listens <- err
	}()
	select {
	case err := <-listens:
		require.NoError(t, err)
	case <-fdtest.Soon(t).Done():
		require.NoError(t, unix.Flock(fd, unix.LOCK_UN))
		<-listens
		require.Fail(t, "ListenControl waits for the lock")
	}
}

// Only one process at a time makes a control socket in a directory.
func TestDirectoryIsLocked(t *testing.T) {
	dir := sockdir.New(t)
	unlock := expect.NoError(lockDir(filepath.Join(dir, "control"))).In(t)
	fd := expect.NoError(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)).In(t)
	defer unix.Close(fd)
	require.ErrorIs(t, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	unlock()
	require.NoError(t, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
}

// A process of another user is refused, even if it can reach the socket; and a process of this user
// does not listen in a directory of another user.
func TestControlOfAnotherUser(t *testing.T) {
	need.Root(t, "only root can be somebody else")
	const nobody = 65534
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	path := filepath.Join(dir, "control")
	c := expect.Open(ListenControl(path)).In(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(path, 0o666))

	connected := make(chan error, 1)
	go func() { // only this thread belongs to another user, and it ends with the goroutine
		runtime.LockOSThread()
		connected <- func() error {
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); e != 0 {
				return e
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				return err
			}
			_, err = unix.SendmsgN(fd, append([]byte{kindAsk}, appendWords(nil, []string{"upgrade", ""})...), nil, nil, unix.MSG_NOSIGNAL)
			if err == unix.EPIPE { // Hear has closed the connection already
				err = nil
			}
			return err
		}()
	}()
	conn := expect.NoError(c.Accept(fdtest.Soon(t))).In(t)
	_, err := Hear(fdtest.Soon(t), conn)
	require.ErrorIs(t, err, ErrForbidden)
	require.ErrorIs(t, err, syscall.EPERM)
	require.NoError(t, <-connected)

	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, os.Chown(dir, nobody, nobody))
	_, err = ListenControl(filepath.Join(dir, "other"))
	require.ErrorIs(t, err, ErrForbidden, "a directory of somebody else")
	require.ErrorIs(t, err, syscall.EPERM, "though its mode is right")
	require.NoError(t, os.Chown(dir, 0, 0))
}

// The directory of a control socket may be longer than the address of a UNIX socket; its name may
// not.
func TestControlInALongDirectory(t *testing.T) {
	fdtest.NoLeak(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "control")
	require.ErrorIs(t, expect.Err(ConnectControl(fdtest.Soon(t), path)), os.ErrNotExist)
	for range 2 { // the second takes the place of one that is not listened on any more
		c := expect.NoError(ListenControl(path)).In(t)
		require.Equal(t, path, c.Path())
		_, err := ListenControl(path)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.ErrorContains(t, err, path)
		conn, err := c.Accept(fdtest.Soon(t)) // of ListenControl, which has looked who listens
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		ch := expect.NoError(ConnectControl(fdtest.Soon(t), path)).In(t)
		require.NoError(t, ch.Close())
		var fd int
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }))
		require.NoError(t, err)
		moved := expect.NoError(ImportControl(fd, path)).In(t)
		require.False(t, moved.Removed())
		require.NoError(t, c.Release())
		require.NoError(t, moved.Release())
		require.FileExists(t, path)
	}
	require.ErrorIs(t, expect.Err(ConnectControl(fdtest.Soon(t), path)), syscall.ECONNREFUSED)
	for _, dial := range []func(string) error{
		func(path string) error { _, err := ListenControl(path); return err },
		func(path string) error { _, err := ConnectControl(fdtest.Soon(t), path); return err },
	} {
		require.ErrorIs(t, dial(filepath.Join(dir, strings.Repeat("n", 108))), syscall.ENAMETOOLONG)
	}
}

// A control socket tells when it cannot be reached any more, however that has come about.
func TestControlIsRemoved(t *testing.T) {
	for name, remove := range map[string]func(dir, path string) error{
		"the file":      func(_, path string) error { return os.Remove(path) },
		"the directory": func(dir, _ string) error { return os.RemoveAll(dir) },
		"moved":         func(dir, _ string) error { return os.Rename(dir, dir+"x") },
		"by another": func(_, path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		},
		"by its own close": nil,
	} {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			dir := filepath.Join(sockdir.New(t), "d")
			path := filepath.Join(dir, "control")
			require.NoError(t, os.Mkdir(dir, 0o700))
			c := expect.Open(ListenControl(path)).In(t)
			require.False(t, c.Removed())
			if remove == nil {
				require.NoError(t, c.Close())
			} else {
				require.NoError(t, remove(dir, path))
			}
			require.True(t, c.Removed())
		})
	}
}
