//go:build unix

package virtual

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// Through virtual sockets, too, Release leaves the path, and Close removes it.
func TestVirtualDatagramPath(t *testing.T) {
	for left, end := range map[bool]func(*tsocket.Datagram) error{true: (*tsocket.Datagram).Release, false: (*tsocket.Datagram).Close} {
		path := sockdir.New(t) + "/s"
		open, err := tsocket.OpenUnixgram(transport.UnixAddr(path), nil)
		require.NoError(t, err)
		require.NoError(t, end(TraceDatagram(LimitDatagram(open, LimitOptions{}), TraceOptions{})))
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
		"trace": func(d tsocket.Socket) *tsocket.Datagram { return TraceDatagram(d, TraceOptions{}) },
		"limit": func(d tsocket.Socket) *tsocket.Datagram { return LimitDatagram(d, LimitOptions{Read: 1 << 20}) },
		"fault": func(d tsocket.Socket) *tsocket.Datagram {
			v, err := FaultDatagram(d, FaultOptions{Read: Faults{Delay: 1, MaxDelay: time.Millisecond}, Refuse: 0.3})
			require.NoError(t, err)
			return v
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
			require.ErrorIs(t, second(over(box).NextLength(soon(t))), errors.ErrUnsupported)
		})
	}
}

// What is no connection, or no listener, is refused and stays open; nothing is left behind.
func TestImportStrangers(t *testing.T) {
	tr := Limit(transport.TCP(), LimitOptions{})
	c, _ := pair(t, transport.TCP(), loopback())
	l, err := transport.TCP().Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	conn, listener, pipe := duplicateOf(t, c), duplicateOf(t, l), duplicateFD(t, int(r.Fd()))
	before := leak.Descriptors()
	for fd, by := range map[int][]func(int) error{
		conn:     {func(fd int) error { return second(tr.ImportListener(fd)) }},
		listener: {func(fd int) error { return second(tr.Import(fd, nil)) }},
		pipe: {
			func(fd int) error { return second(tr.ImportListener(fd)) },
			func(fd int) error { return second(tr.Import(fd, nil)) },
		},
	} {
		for _, adopt := range by {
			err := adopt(fd)
			var errno syscall.Errno
			require.ErrorAs(t, err, &errno)
			require.NotErrorIs(t, err, transport.ErrContract)
			require.Empty(t, leak.Left(before))
		}
		require.NoError(t, unix.Close(fd), "it is still ours")
	}
}
