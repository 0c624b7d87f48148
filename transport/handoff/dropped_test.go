//go:build unix

package handoff

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// What owns descriptors, and is dropped without Close, is closed once the garbage collector has
// run. Each case gives an end of a pipe to an owner, which it forgets, or makes a connection.
func TestDroppedIsClosed(t *testing.T) {
	for name, drop := range map[string]func(t *testing.T, fd int){
		"set": func(t *testing.T, fd int) {
			_, err := NewFDSet(duplicate(t, fd))
			require.NoError(t, err)
		},
		"set, emptied and used again": func(t *testing.T, fd int) {
			set, err := NewFDSet(duplicate(t, fd))
			require.NoError(t, err)
			require.NoError(t, set.Close())
			_, err = set.Add(duplicate(t, fd))
			require.NoError(t, err)
		},
		"set of a stranger": func(t *testing.T, fd int) {
			a, b := connPair(t, unix.SOCK_STREAM)
			require.NoError(t, a.Send(soon(t), []byte("x"), fd))
			var set FDSet
			_, err := b.Receive(soon(t), make([]byte, 1), &set, 1)
			require.NoError(t, err)
		},
		"message in part": func(t *testing.T, fd int) {
			a, b := rawPair(t, unix.SOCK_STREAM)
			m, err := NewMessageConn(unixConn(t, b), nil)
			require.NoError(t, err)
			require.NoError(t, unix.Sendmsg(a, []byte{0x80, 0, 0, 9, 'x'}, unix.UnixRights(fd), nil, 0))
			_, _, err = m.ReceiveFD(transport.NoWait())
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, unix.Close(a))
		},
		"bytes read ahead": func(t *testing.T, fd int) {
			a, b := rawPair(t, unix.SOCK_STREAM)
			r, err := NewReceiver(unixConn(t, b), nil)
			require.NoError(t, err)
			require.NoError(t, unix.Sendmsg(a, []byte{0, 1}, unix.UnixRights(fd), nil, 0))
			require.Error(t, r.Receive(transport.NoWait(), new(Session)))
			require.NoError(t, unix.Close(a))
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			fd := duplicate(t, int(w.Fd()))
			require.NoError(t, w.Close())
			drop(t, fd)
			require.NoError(t, unix.Close(fd))
			requireEnds(t, r)
		})
	}
	for name, drop := range map[string]func(t *testing.T, c *net.UnixConn){
		"Conn": func(t *testing.T, c *net.UnixConn) { require.NoError(t, second(NewConn(c))) },
		"Conn that has waited": func(t *testing.T, u *net.UnixConn) {
			c, err := NewConn(u)
			require.NoError(t, err)
			_, err = c.Receive(transport.NoWait(), make([]byte, 1), nil, 0)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		},
		"Forwarder":   func(t *testing.T, c *net.UnixConn) { require.NoError(t, second(NewForwarderConn(c))) },
		"Receiver":    func(t *testing.T, c *net.UnixConn) { require.NoError(t, second(NewReceiver(c, nil))) },
		"MessageConn": func(t *testing.T, c *net.UnixConn) { require.NoError(t, second(NewMessageConn(c, nil))) },
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			one, other, err := SocketPair()
			require.NoError(t, err)
			here, err := FileConn(one)
			require.NoError(t, err)
			defer here.Close()
			there, err := FileConn(other)
			require.NoError(t, err)
			drop(t, there)
			requireEnds(t, here)
		})
	}
}

// A descriptor that was stolen, or closed, is not closed by its set once more.
func TestDroppedClosesNothingElse(t *testing.T) {
	noLeak(t)
	f := file(t, "f")
	kept := make([]int, 0, 300)
	func() {
		for range 100 {
			set, err := NewFDSet(duplicate(t, f), duplicate(t, f), duplicate(t, f))
			require.NoError(t, err)
			fd, err := set.Steal(1)
			require.NoError(t, err)
			kept = append(kept, fd)
			require.NoError(t, set.Close())
			for range 2 { // they get the numbers that the set had
				kept = append(kept, duplicate(t, f))
			}
		}
	}()
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	for _, fd := range kept {
		require.False(t, isClosed(fd))
		require.NoError(t, unix.Close(fd))
	}
}

// requireEnds requires that no process has the other end of r any more, once garbage is collected.
func requireEnds(t *testing.T, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}) {
	t.Helper()
	for end := time.Now().Add(expect.Limit); ; {
		runtime.GC()
		require.NoError(t, r.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		_, err := r.Read(make([]byte, 1))
		if err == io.EOF {
			return
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.True(t, time.Now().Before(end), "it stays open")
	}
}

func duplicate(t *testing.T, fd int) int {
	t.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	return d
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }
