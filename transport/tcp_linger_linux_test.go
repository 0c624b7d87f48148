package transport

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A socket that lingers, as its owner or its listener's owner has set it, holds up only the
// goroutine that closes it.
func TestCloseLingers(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 2})
	}))
	require.NoError(t, err)
	p := make([]byte, 1<<20)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for err == nil { // until the sockets are full
			_, err = unix.Write(int(fd), p)
		}
	}))
	require.ErrorIs(t, err, syscall.EAGAIN)
	closing := make(chan struct{})
	closes := aside(func() error { close(closing); return c.Close() })
	<-closing
	collected := 0
	for lingers := true; lingers; {
		runtime.GC() // which waits for every processor
		select {
		case err := <-closes:
			require.NoError(t, err)
			lingers = false
		default:
			collected++
		}
	}
	require.Greater(t, collected, 2)
	require.NoError(t, s.Close())
}
