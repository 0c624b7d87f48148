//go:build unix

package tsocket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"

	"github.com/cnode-go/cnode/transport"
)

// The length of the next datagram can be had before it is read, whatever it is, and takes nothing
// but empty datagrams.
func TestDatagramLength(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		require.ErrorIs(t, expect.Err(open.NextLength(transport.NoWait())), os.ErrDeadlineExceeded)
		require.ErrorIs(t, expect.Err(open.NextLength(within(t, time.Millisecond))), context.DeadlineExceeded)
		waits := expect.Aside(func() error { return expect.Err(open.NextLength(context.Background())) })
		expect.WaitsIn(t, "", "(*Datagram).NextLength(")
		require.ErrorIs(t, expect.Err(open.NextLength(soon(t))), transport.ErrBusy)
		require.ErrorIs(t, expect.Err2(open.RecvFrom(soon(t), make([]byte, 1))), transport.ErrBusy)
		for i, size := range []int{1, 100, 5000, 60000} {
			sent := bytes.Repeat([]byte{byte(size)}, size)
			require.NoError(t, expect.Err(connected.SendTo(soon(t), sent, nil)))
			if i == 0 {
				require.NoError(t, expect.Returns(t, waits))
			}
			for range 2 {
				require.Equal(t, size, expect.NoError(open.NextLength(soon(t))).In(t))
			}
			p := make([]byte, size)
			n, from, err := open.RecvFrom(soon(t), p)
			require.NoError(t, err)
			require.Equal(t, sent, p[:n])
			require.Equal(t, connected.LocalAddr(), from)
		}
		sendsEmpty(t, connected)
		requireSends(t, connected, "behind an empty one", nil)
		n := expect.NoError(open.NextLength(soon(t))).In(t)
		require.Equal(t, len("behind an empty one"), n)
		_, _, err := open.RecvFrom(soon(t), make([]byte, 6))
		long := expect.As[*TooLongError](t, err)
		require.Equal(t, 6, long.Room)
		require.Contains(t, []int{0, n}, long.Size, "as far as the system tells")

		waits = expect.Aside(func() error { return expect.Err(open.NextLength(context.Background())) })
		expect.WaitsIn(t, "", "(*Datagram).NextLength(")
		require.NoError(t, open.Close())
		require.ErrorIs(t, expect.Returns(t, waits), net.ErrClosed)
	})
}

// sendsEmpty sends an empty datagram over a connected socket.
func sendsEmpty(t *testing.T, d *Datagram) {
	t.Helper()
	raw, err := d.SyscallConn()
	require.NoError(t, err)
	e := raw.Control(func(fd uintptr) { _, err = unix.Write(int(fd), nil) })
	require.NoError(t, errors.Join(err, e))
}
