package transport

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// What the peer does not take is outstanding, and no longer once it has taken it.
func TestOutstandingBytes(t *testing.T) {
	for name, tt := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "unix": {Unix(), socketPath(t)}} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, tt.tr, tt.at)
			n, err := a.OutstandingBytes()
			require.NoError(t, err)
			require.Zero(t, n)
			const size = 16 << 20 // more than the system holds
			written := make(chan error, 1)
			go func() { _, err := a.Writev(soon(t), make([]byte, size)); written <- err }()
			require.Eventually(t, func() bool { n, err = a.OutstandingBytes(); return err == nil && n > 0 }, tooLong, time.Millisecond)
			_, err = b.Readv(soon(t), make([]byte, size))
			require.NoError(t, err)
			require.NoError(t, <-written)
			require.Eventually(t, func() bool { n, err = a.OutstandingBytes(); return err == nil && n == 0 }, tooLong, time.Millisecond)
			require.NoError(t, a.Close())
			require.ErrorIs(t, expect.Err(a.OutstandingBytes()), net.ErrClosed)
		})
	}
	m, _ := pair(t, NewMemory(), MemoryAddr(""))
	require.ErrorIs(t, expect.Err(m.OutstandingBytes()), errors.ErrUnsupported)
}
