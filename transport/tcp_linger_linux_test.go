package transport

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A socket that lingers, as its owner or its listener's owner has set it, holds up only the
// goroutine that closes it.
func TestCloseLingers(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 30})
	}))
	require.NoError(t, err)
	p := make([]byte, 1<<20)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for err == nil { // until the sockets are full
			_, err = unix.Write(int(fd), p)
		}
	}))
	require.ErrorIs(t, err, syscall.EAGAIN)
	closes := expect.Aside(c.Close)
	expect.WaitsIn(t, "syscall", "(*Stream).Close(")
	for range 3 {
		runtime.GC() // which waits for every processor
		require.Empty(t, closes)
	}
	require.NoError(t, s.Close()) // nobody is to take the rest any more
	require.NoError(t, expect.Returns(t, closes))
}
