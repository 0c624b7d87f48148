//go:build unix

package transport

import (
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Of several that take over a path at once, which a dead process has left, one gets it, and can be reached there.
func TestUnixTakesOverOnce(t *testing.T) {
	at := UnixAddr(filepath.Join(t.TempDir(), "s"))
	for range 100 {
		fd, err := newSocketFD(at)
		require.NoError(t, err)
		sa, err := ToSockaddr(at)
		require.NoError(t, err)
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
		c, err := Unix().Connect(soon(t), at)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, (<-got).Close())
	}
}

// A path that is somebody else's stays when its listener is closed.
func TestUnixKeepPath(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Unix().Listen(UnixAddr(path), 0)
		require.NoError(t, err)
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

// The addresses of package net do, too.
func TestUnixOfPackageNet(t *testing.T) {
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	pair(t, Unix(), at)
}
