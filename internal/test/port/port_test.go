package port

import (
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nothing listens at the port, a program that asks for it gets it, again and again, and a program
// that asks for any port never does.
func TestVacant(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a port is kept on Linux only")
	}
	at := Vacant(t)
	require.NotEqual(t, at, Vacant(t))
	for range 3 {
		_, err := net.Dial("tcp", at)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := net.Listen("tcp", at)
		require.NoError(t, err)
		_, err = net.Listen("tcp", at)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		c, err := net.Dial("tcp", at)
		require.NoError(t, err)
		s, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, l.Close())
		require.NoError(t, s.Close())
		require.NoError(t, c.Close())
	}
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NotEqual(t, at, l.Addr().String())
		require.NoError(t, l.Close())
	}
}

// A port that is released can be used by others again.
func TestReserve(t *testing.T) {
	number, release, err := Reserve()
	require.NoError(t, err)
	require.NotZero(t, number)
	release()
}
