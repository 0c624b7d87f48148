//go:build unix

package tsocket

import (
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

func TestGuideBSDAddresses(t *testing.T) {
	guideSection(t, "BSD sockets: ipv4, ipv6 and unix", []guideRule{
		{"the family is ipv4, ipv6 or ip, which finds out", func(t *testing.T) {
			for _, tt := range [][3]string{{"ipv4", "127.0.0.1", "127.0.0.1:7"}, {"ipv6", "::1", "[::1]:7"},
				{"ip", "127.0.0.1", "127.0.0.1:7"}, {"ip", "::1", "[::1]:7"}} {
				a := expect.NoError(transport.ParseInet(tt[0], tt[1], 7)).In(t)
				require.Equal(t, tt[2], a.String())
			}
		}},
		{"any other family is an error", func(t *testing.T) {
			for _, family := range []string{"", "inet", "unix", "ipv5"} {
				require.ErrorIs(t, expect.Err(transport.ParseInet(family, "127.0.0.1", 7)), syscall.EAFNOSUPPORT)
			}
		}},
		{"an address text must be one of the family; names are not allowed", func(t *testing.T) {
			for _, tt := range [][2]string{{"ipv4", "::1"}, {"ipv6", "127.0.0.1"}, {"ip", "localhost"}, {"ipv4", "localhost"}} {
				require.ErrorIs(t, expect.Err(transport.ParseInet(tt[0], tt[1], 7)), syscall.EINVAL)
			}
		}},
		{"no address text is the wildcard", func(t *testing.T) {
			for family, want := range map[string]string{"ipv4": "0.0.0.0:7", "ipv6": "[::]:7", "ip": "[::]:7"} {
				a := expect.NoError(transport.ParseInet(family, "", 7)).In(t)
				require.Equal(t, want, a.String())
			}
		}},
		{"the address text of what is not inet is EINVAL", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(transport.Host(transport.UnixAddr("/x"))),
				syscall.EINVAL)
		}},
		{"an inet address has a port; that of another kind is EINVAL and 0", func(t *testing.T) {
			port := expect.NoError(transport.Port(transport.FromAddrPort(netip.MustParseAddrPort("[::1]:7")))).In(t)
			require.EqualValues(t, 7, port)
			port, err := transport.Port(transport.UnixAddr("/x"))
			require.ErrorIs(t, err, syscall.EINVAL)
			require.Zero(t, port)
		}},
		{"a port can be set; on what is not inet it is EINVAL", func(t *testing.T) {
			a := expect.NoError(transport.WithPort(loopback(), 7)).In(t)
			require.Equal(t, "127.0.0.1:7", a.String())
			require.ErrorIs(t, expect.Err(transport.WithPort(transport.UnixAddr("/x"), 7)), syscall.EINVAL)
		}},
		{"a path may be empty", func(t *testing.T) {
			a := expect.NoError(transport.FromUnixPath("")).In(t)
			require.Equal(t, transport.UnixAddr(""), a)
		}},
		{"a path longer than the kernel's limit is ENAMETOOLONG", func(t *testing.T) {
			require.NoError(t, expect.Err(transport.FromUnixPath(strings.Repeat("p", sys.MaxUnixPath))))
			require.ErrorIs(t, expect.Err(transport.FromUnixPath(strings.Repeat("p", sys.MaxUnixPath+1))), syscall.ENAMETOOLONG)
		}},
		{"the path of what is no UNIX address is EINVAL", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(transport.UnixPath(loopback())),
				syscall.EINVAL)
		}},
	})
}

func TestGuideBSDSockets(t *testing.T) {
	guideSection(t, "BSD sockets: ipv4, ipv6 and unix", []guideRule{
		{"a UDP socket's addresses are inet ones, the remote one may be missing", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(OpenUDP(transport.UnixAddr("/x"), nil)), syscall.EINVAL)
			require.ErrorIs(t, expect.Err(OpenUDP(loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
			d := expect.Open(OpenUDP(loopback(), nil)).In(t)
			require.Nil(t, d.RemoteAddr())
			require.ErrorIs(t, expect.Err(OpenUDP(d.LocalAddr(), nil)), syscall.EADDRINUSE, "or it fails")
		}},
		{"a UNIX datagram socket's addresses are UNIX ones, the remote one may be missing", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(OpenUnixgram(loopback(), nil)), syscall.EINVAL)
			require.ErrorIs(t, expect.Err(OpenUnixgram(nil, loopback())), syscall.EINVAL)
			open, connected := unixgrams(t)
			require.Nil(t, open.RemoteAddr())
			require.NotNil(t, connected.RemoteAddr())
			require.ErrorIs(t, expect.Err(OpenUnixgram(open.LocalAddr(), nil)), syscall.EADDRINUSE, "or it fails")
		}},
		{"a TCP connection's addresses are inet ones", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(transport.ConnectTCP(soon(t), transport.UnixAddr("/x"), loopback())), syscall.EINVAL)
			require.ErrorIs(t, expect.Err(transport.ConnectTCP(soon(t), loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
		}},
		{"a TCP connection goes from the local address, and is ready when connecting ends", func(t *testing.T) {
			l := expect.Open(transport.ListenTCP(loopback(), 0)).In(t)
			local := expect.NoError(transport.ParseAddr(port.Vacant(t))).In(t)
			c, s := acceptOne(t, l, func() (*transport.Stream, error) { return transport.ConnectTCP(soon(t), local, l.Addr()) })
			require.Equal(t, local, c.LocalAddr())
			require.Equal(t, local, s.RemoteAddr())
			requireSpeak(t, c, s)
		}},
		{"or it failed", func(t *testing.T) {
			nobody := expect.NoError(transport.ParseAddr(port.Vacant(t))).In(t)
			require.Error(t, expect.Err(transport.ConnectTCP(soon(t), nil, nobody)))
		}},
		{"a UNIX connection's addresses are UNIX ones", func(t *testing.T) {
			require.ErrorIs(t, expect.Err(transport.ConnectUnix(soon(t), loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
			require.ErrorIs(t, expect.Err(transport.ConnectUnix(soon(t), nil, loopback())), syscall.EINVAL)
		}},
		{"a UNIX connection goes from the local address, and is ready when connecting ends", func(t *testing.T) {
			dir := sockdir.New(t)
			l := expect.Open(transport.ListenUnix(transport.UnixAddr(filepath.Join(dir, "a")), 0)).In(t)
			local := transport.UnixAddr(filepath.Join(dir, "b"))
			c, s := acceptOne(t, l, func() (*transport.Stream, error) { return transport.ConnectUnix(soon(t), local, l.Addr()) })
			require.Equal(t, local, c.LocalAddr())
			require.Equal(t, local, s.RemoteAddr())
			requireSpeak(t, c, s)
		}},
		{"or it failed, too", func(t *testing.T) {
			nobody := transport.UnixAddr(filepath.Join(sockdir.New(t), "a"))
			require.ErrorIs(t, expect.Err(transport.ConnectUnix(soon(t), nil, nobody)), syscall.ENOENT)
		}},
		{"a socket pair is connected", func(t *testing.T) {
			if !await.CanWait {
				t.Skip("no socket pairs here")
			}
			a, b, err := transport.UnixPair()
			require.NoError(t, err)
			defer a.Close()
			defer b.Close()
			requireSpeak(t, a, b)
		}},
		{"a sockaddr is of inet, inet6 or unix, and no other family", func(t *testing.T) {
			for _, a := range []transport.Addr{loopback(), transport.FromAddrPort(netip.MustParseAddrPort("[::1]:7")), transport.UnixAddr("/x")} {
				b := expect.NoError(transport.AppendSockaddr(nil, a)).In(t)
				require.Equal(t, a, expect.NoError(transport.ParseSockaddr(b)).In(t))
				if _, err := transport.UnixPath(a); err != nil {
					require.ErrorIs(t, expect.Err(transport.ParseSockaddr(b[:len(b)-1])), syscall.EINVAL)
				}
			}
			require.ErrorIs(t, expect.Err(transport.ParseSockaddr(nil)), syscall.EINVAL)
			require.ErrorIs(t, expect.Err(transport.ParseSockaddr(otherFamily())), syscall.EAFNOSUPPORT)
			require.ErrorIs(t, expect.Err(transport.AppendSockaddr(nil, transport.MemoryAddr("x"))), syscall.EAFNOSUPPORT)
		}},
		{"an existing descriptor becomes a stream, or an error", func(t *testing.T) {
			fds := expect.NoError(sys.SocketPair(syscall.SOCK_STREAM)).In(t)
			var ends [2]*transport.Stream
			for i, fd := range fds {
				ends[i] = expect.NoError(transport.AdoptStream(fd)).In(t)
				defer ends[i].Close()
			}
			requireSpeak(t, ends[0], ends[1])
			require.Error(t, expect.Err(transport.AdoptStream(-1)))
			require.Error(t, expect.Err(transport.AdoptListener(-1)))
			require.Error(t, expect.Err(AdoptDatagram(-1)))
		}},
	})
}

// otherFamily is the sockaddr of a family that is neither an inet one nor UNIX.
func otherFamily() []byte {
	b, _ := transport.AppendSockaddr(nil, loopback())
	family := b[:2]
	if sys.SockaddrHasLen {
		family = b[1:2]
	}
	for i := range family {
		family[i] = 99
	}
	return b
}
