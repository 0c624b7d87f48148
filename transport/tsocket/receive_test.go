package tsocket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// A datagram comes whole, whatever its length, in a buffer of its own.
func TestReceiveWhole(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		var earlier, was []byte
		for _, size := range []int{1, 1472, 60_000, 2, 9000} {
			sent := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
			require.NoError(t, expect.Err(connected.SendTo(soon(t), sent, nil)))
			got, from, err := open.Receive(soon(t))
			require.NoError(t, err)
			require.Equal(t, sent, got)
			require.Less(t, cap(got), 2*size+100, "no more memory than the datagram needs")
			require.Equal(t, connected.LocalAddr(), from)
			require.Equal(t, was, earlier, "the earlier one is the caller's")
			earlier, was = got, bytes.Clone(got)
		}
	})
}

func TestReceiveWaits(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		require.ErrorIs(t, expect.Err2(open.Receive(transport.NoWait())), os.ErrDeadlineExceeded)
		ctx, cancel := context.WithCancel(t.Context())
		waits := expect.Aside(func() error { _, _, err := open.Receive(ctx); return err })
		expect.WaitsIn(t, "", "(*Datagram).Receive(")
		require.ErrorIs(t, expect.Err2(open.Receive(soon(t))), transport.ErrBusy)
		require.ErrorIs(t, expect.Err2(open.RecvFrom(soon(t), make([]byte, 1))), transport.ErrBusy)
		cancel()
		require.ErrorIs(t, expect.Returns(t, waits), context.Canceled)
		requireSends(t, connected, "still there", nil)
		p, _, err := open.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, "still there", string(p))
		waits = expect.Aside(func() error { _, _, err := open.Receive(context.Background()); return err })
		expect.WaitsIn(t, "", "(*Datagram).Receive(")
		require.NoError(t, open.Close())
		require.ErrorIs(t, expect.Returns(t, waits), net.ErrClosed)
	})
}

// A blind carrier cannot tell the length of the next datagram.
type blind struct{ datagramCarrier }

func (blind) next(context.Context, *Datagram) (int, error) { return 0, errors.ErrUnsupported }

// Where nobody tells the length before, the datagram comes whole all the same.
func TestReceiveBlind(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	open.sock = blind{open.sock}
	for _, text := range []string{"short", string(bytes.Repeat([]byte("long"), 15_000))} {
		require.NoError(t, expect.Err(connected.SendTo(soon(t), []byte(text), nil)))
		p, from, err := open.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, text, string(p))
		require.Less(t, cap(p), 2*len(text)+100, "no more memory than the datagram needs")
		require.Equal(t, connected.LocalAddr(), from)
	}
}
