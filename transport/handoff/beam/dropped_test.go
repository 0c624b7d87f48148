//go:build unix

package beam

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// What is dropped without Close is closed once the garbage collector has run, and so are the
// descriptors that it has received and not returned.
func TestDroppedIsClosed(t *testing.T) {
	for name, drop := range map[string]func(t *testing.T, fd int){
		"message in part": func(t *testing.T, fd int) {
			a, b := fdtest.RawPair(t, unix.SOCK_STREAM)
			m, err := NewConn(fdtest.UnixConn(t, b), nil)
			require.NoError(t, err)
			require.NoError(t, unix.Sendmsg(a, []byte{0x80, 0, 0, 9, 'x'}, unix.UnixRights(fd), nil, 0))
			_, _, err = m.ReceiveFD(transport.NoWait())
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, unix.Close(a))
		},
	} {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			fd := fdtest.Duplicate(t, int(w.Fd()))
			require.NoError(t, w.Close())
			drop(t, fd)
			require.NoError(t, unix.Close(fd))
			fdtest.Ends(t, r)
		})
	}
	for name, drop := range map[string]func(t *testing.T, c *net.UnixConn){
		"Conn": func(t *testing.T, c *net.UnixConn) { require.NoError(t, second(NewConn(c, nil))) },
	} {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			one, other, err := sock.Pair(syscall.SOCK_STREAM)
			require.NoError(t, err)
			here, err := handoff.FileConn(one)
			require.NoError(t, err)
			defer here.Close()
			there, err := handoff.FileConn(other)
			require.NoError(t, err)
			drop(t, there)
			fdtest.Ends(t, here)
		})
	}
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }
