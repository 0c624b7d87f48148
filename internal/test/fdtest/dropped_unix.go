//go:build unix

package fdtest

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// ClosesDropped requires that what owns descriptors, and is dropped without Close, is closed once
// the garbage collector has run. Each function of ends gives a duplicate of a pipe's end to an
// owner, which it forgets, and each one of conns makes something of a connection.
func ClosesDropped(t *testing.T, ends map[string]func(t *testing.T, fd int), conns map[string]func(c *net.UnixConn) error) {
	for name, drop := range ends {
		t.Run(name, func(t *testing.T) {
			NoLeak(t)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			drop(t, int(w.Fd()))
			require.NoError(t, w.Close())
			Ends(t, r)
		})
	}
	for name, drop := range conns {
		t.Run(name, func(t *testing.T) {
			NoLeak(t)
			a, b := RawPair(t, syscall.SOCK_STREAM)
			f := os.NewFile(uintptr(b), "socket")
			there, err := net.FileConn(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			here := UnixConn(t, a)
			defer here.Close()
			require.NoError(t, drop(there.(*net.UnixConn)))
			Ends(t, here)
		})
	}
}
