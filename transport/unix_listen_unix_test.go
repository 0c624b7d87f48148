//go:build unix

package transport

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Of several listeners that take over at once a path that a dead process has left, one gets it, and
// can be reached there.
func TestUnixTakesOverOnce(t *testing.T) {
	at := UnixAddr(filepath.Join(sockdir.New(t), "s"))
	for range 100 {
		fd := expect.NoError(newSocketFD(at)).In(t)
		sa := expect.NoError(ToSockaddr(at)).In(t)
		require.NoError(t, unix.Bind(fd, sa))
		require.NoError(t, unix.Close(fd))
		var all sync.WaitGroup
		got := make(chan *Listener, 4)
		for range cap(got) {
			all.Go(func() {
				if l, err := Unix().Listen(at, 0); err == nil {
					got <- l
				}
			})
		}
		all.Wait()
		close(got)
		require.Len(t, got, 1)
		c := expect.NoError(Unix().Connect(soon(t), at)).In(t)
		require.NoError(t, c.Close())
		require.NoError(t, (<-got).Close())
	}
}

// A path that belongs to somebody else stays when its listener is closed.
func TestUnixKeepPath(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		path := filepath.Join(sockdir.New(t), "s")
		l := expect.NoError(Unix().Listen(UnixAddr(path), 0)).In(t)
		require.False(t, l.KeepsPath())
		if keeps {
			l.KeepPath()
		}
		require.Equal(t, keeps, l.KeepsPath())
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		if keeps {
			require.FileExists(t, path)
		} else {
			require.NoFileExists(t, path)
		}
	}
}

// A path at which there is anything but the socket of a dead process is in use, and stays as it is.
func TestUnixPathInUse(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, path string){
		"file":      func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) },
		"directory": func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
		"datagrams": func(t *testing.T, path string) {
			fd := rawSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM, UnixAddr(path))
			t.Cleanup(func() { unix.Close(fd) })
		},
		// A connect to such a socket would have to wait.
		"full backlog": func(t *testing.T, path string) {
			expect.Open(Unix().Listen(UnixAddr(path), 1)).In(t)
			for {
				c, err := Unix().Connect(NoWait(), UnixAddr(path))
				if err != nil {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded)
					return
				}
				t.Cleanup(func() { c.Close() })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := socketPath(t).(UnixAddr)
			make(t, at.Path())
			before := expect.NoError(os.Lstat(at.Path())).In(t)
			listened := expect.Aside(func() error { _, err := Unix().Listen(at, 0); return err })
			require.ErrorIs(t, expect.Returns(t, listened), syscall.EADDRINUSE)
			after := expect.NoError(os.Lstat(at.Path())).In(t)
			require.True(t, os.SameFile(before, after))
		})
	}
	require.ErrorIs(t, expect.Err(Unix().Listen(UnixAddr(""), 0)), syscall.EINVAL)
}

// Who finds that a path is taken leaves no trace at the listener that has it: no connection that
// has ended.
func TestUnixPathInUseIsNotDisturbed(t *testing.T) {
	at := socketPath(t)
	l := expect.Open(Unix().Listen(at, 0)).In(t)
	require.ErrorIs(t, expect.Err(Unix().Listen(at, 0)), syscall.EADDRINUSE)
	require.ErrorIs(t, expect.Err(l.Accept(NoWait())), os.ErrDeadlineExceeded)
	c := expect.NoError(Unix().Connect(soon(t), at)).In(t)
	require.NoError(t, c.Close())
	s := expect.NoError(l.Accept(soon(t))).In(t)
	require.NoError(t, s.Close())
}

// Closing an abstract socket removes no file of that name.
func TestUnixAbstractHasNoFile(t *testing.T) {
	if !sys.AbstractNames {
		t.Skip("there are no abstract names here")
	}
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@transport-test-%d", os.Getpid())
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	l := expect.NoError(Unix().Listen(UnixAddr(name), 0)).In(t)
	require.NoError(t, l.Close())
	require.FileExists(t, name)
}

// A process that keeps the lock on a directory does not keep others from listening there.
func TestUnixLockedDirectory(t *testing.T) {
	t.Parallel()
	at := socketPath(t).(UnixAddr)
	fd := expect.NoError(unix.Open(filepath.Dir(at.Path()), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)).In(t)
	defer unix.Close(fd)
	require.NoError(t, unix.Flock(fd, unix.LOCK_EX))
	listened := expect.Aside(func() error {
		l, err := Unix().Listen(at, 0)
		if err != nil {
			return err
		}
		return l.Close()
	})
	require.NoError(t, expect.Returns(t, listened))
}
