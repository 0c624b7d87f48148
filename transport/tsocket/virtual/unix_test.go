//go:build unix

package virtual

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// Through virtual sockets, too, Release leaves the path, and Close removes it.
func TestVirtualDatagramPath(t *testing.T) {
	for left, end := range map[bool]func(*tsocket.Datagram) error{true: (*tsocket.Datagram).Release, false: (*tsocket.Datagram).Close} {
		path := sockdir.New(t) + "/s"
		open := expect.NoError(tsocket.OpenUnixgram(transport.UnixAddr(path), nil)).In(t)
		require.NoError(t, end(Trace(Limit(open, LimitOptions{}), TraceOptions{})))
		if left {
			require.FileExists(t, path)
		} else {
			require.NoFileExists(t, path)
		}
	}
}

// NextLength of a virtual socket is that of the socket below, under the virtual one's rules; what
// is held back meanwhile is not lost.
func TestVirtualDatagramLength(t *testing.T) {
	for name, over := range map[string]func(tsocket.Socket) *tsocket.Datagram{
		"trace": func(d tsocket.Socket) *tsocket.Datagram { return Trace(d, TraceOptions{}) },
		"limit": func(d tsocket.Socket) *tsocket.Datagram { return Limit(d, LimitOptions{Read: 1 << 20}) },
		"fault": func(d tsocket.Socket) *tsocket.Datagram {
			return Fault(d, FaultOptions{Read: Faults{Delay: 1, Refuse: 0.3, MaxDelay: time.Millisecond}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			below, connected := udpPair(t, "ipv4")
			v := over(below)
			defer v.Close()
			for i := range 50 {
				text := strings.Repeat("x", 1+i)
				posts(t, connected, text)
				n, err := v.NextLength(soon(t))
				for errors.Is(err, syscall.ECONNREFUSED) {
					n, err = v.NextLength(soon(t))
				}
				require.NoError(t, err)
				require.Equal(t, len(text), n)
				p := make([]byte, n)
				k, from, err := v.RecvFrom(soon(t), p)
				require.NoError(t, err)
				require.Equal(t, text, string(p[:k]))
				require.Equal(t, connected.LocalAddr(), from)
			}
			box, _ := letterboxes()
			require.ErrorIs(t, expect.Err(over(box).NextLength(soon(t))), errors.ErrUnsupported)
		})
	}
}
