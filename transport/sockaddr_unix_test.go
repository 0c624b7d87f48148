//go:build unix

package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

func TestSockaddr(t *testing.T) {
	var lo netip.Addr
	if i, err := net.InterfaceByName("lo"); err == nil {
		lo = netip.MustParseAddr("fe80::1").WithZone("lo")
		sa := expect.NoError(ToSockaddr(FromAddrPort(netip.AddrPortFrom(lo, 1)))).In(t)
		require.EqualValues(t, i.Index, sa.(*unix.SockaddrInet6).ZoneId)
	}
	for _, tt := range []struct {
		name string
		in   Addr
		want unix.Sockaddr
	}{
		{"IPv4", FromAddrPort(netip.MustParseAddrPort("10.1.2.3:4369")), &unix.SockaddrInet4{Addr: [4]byte{10, 1, 2, 3}, Port: 4369}},
		{"IPv6", FromAddrPort(netip.MustParseAddrPort("[::1]:80")), &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16(), Port: 80}},
		{"zone", FromAddrPort(netip.MustParseAddrPort("[fe80::1%7]:80")),
			&unix.SockaddrInet6{Addr: netip.MustParseAddr("fe80::1").As16(), Port: 80, ZoneId: 7}},
		{"path", UnixAddr("/run/x"), &unix.SockaddrUnix{Name: "/run/x"}},
		{"abstract", UnixAddr("@x"), &unix.SockaddrUnix{Name: "@x"}},
		{"longest", UnixAddr(strings.Repeat("p", sys.MaxUnixPath)), &unix.SockaddrUnix{Name: strings.Repeat("p", sys.MaxUnixPath)}},
	} {
		sa, err := ToSockaddr(tt.in)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, sa, tt.name)
		require.Equal(t, tt.in, FromSockaddr(sa), tt.name)
		sa, err = ToSockaddr(WithPeerName(tt.in, "n@h"))
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, sa, tt.name)
	}
	for _, tt := range []struct {
		name string
		in   Addr
		want error
	}{
		{"memory", MemoryAddr("x"), syscall.EAFNOSUPPORT},
		{"nil", nil, syscall.EAFNOSUPPORT},
		{"zero inet", FromAddrPort(netip.AddrPort{}), syscall.EAFNOSUPPORT},
		{"too long", UnixAddr(strings.Repeat("p", sys.MaxUnixPath+1)), syscall.ENAMETOOLONG},
		{"no such zone", FromAddrPort(netip.MustParseAddrPort("[fe80::1%no-such-interface]:80")), syscall.EINVAL},
	} {
		require.ErrorIs(t, expect.Err(ToSockaddr(tt.in)), tt.want, tt.name)
	}
	require.Nil(t, FromSockaddr(nil))
	require.Equal(t, UnixAddr(""), FromSockaddr(&unix.SockaddrUnix{Name: "@"}), "how package unix shows an unnamed socket")
}

// must returns an address that must not be missing.
func must(t *testing.T) func(a Addr, err error) Addr {
	return func(a Addr, err error) Addr { require.NoError(t, err); return a }
}

// The same zone is the same, as a name or a number, from text, from package net or from the system.
func TestZones(t *testing.T) {
	all := expect.NoError(net.Interfaces()).In(t)
	require.NotEmpty(t, all)
	here := all[0]
	number := fmt.Sprint(here.Index)
	ip := netip.MustParseAddr("fe80::1")
	want := FromAddrPort(netip.AddrPortFrom(ip.WithZone(number), 80))
	require.Equal(t, "[fe80::1%"+number+"]:80", want.String())
	b := expect.NoError(AppendSockaddr(nil, want)).In(t)
	for name, zone := range map[string]string{"name": here.Name, "number": number, "number with zeros": "00" + number} {
		same := map[string]Addr{
			"netip":       FromAddrPort(netip.AddrPortFrom(ip.WithZone(zone), 80)),
			"package net": FromNetAddr(&net.TCPAddr{IP: ip.AsSlice(), Port: 80, Zone: zone}),
			"text":        must(t)(ParseAddr("[fe80::1%" + zone + "]:80")),
			"host":        must(t)(ParseInet("ip", "fe80::1%"+zone, 80)),
			"sockaddr":    must(t)(ParseSockaddr(b)),
			"unix":        FromSockaddr(&unix.SockaddrInet6{Addr: ip.As16(), Port: 80, ZoneId: uint32(here.Index)}),
		}
		for from, a := range same {
			require.True(t, want == a, "%s of %s: %v", name, from, a)
		}
		ap := expect.NoError(AddrPort(&net.TCPAddr{IP: ip.AsSlice(), Port: 80, Zone: zone})).In(t)
		require.Equal(t, number, ap.Addr().Zone(), name)
	}
	require.Equal(t, "[fe80::1]:80", FromAddrPort(netip.AddrPortFrom(ip.WithZone("0"), 80)).String(), "0 is none")
	require.Equal(t, "[fe80::1%nowhere]:80", FromAddrPort(netip.AddrPortFrom(ip.WithZone("nowhere"), 80)).String())
}

func TestWrongKindOfAddress(t *testing.T) {
	for _, tt := range []struct {
		tr Transport
		at Addr
	}{{TCP(), UnixAddr("/x")}, {TCP(), MemoryAddr("x")}, {TCP(), nil}, {Unix(), loopback()}, {Unix(), nil}, {NewMemory(),
		loopback()}, {NewMemory(), nil}} {
		for _, err := range []error{expect.Err(tt.tr.Listen(tt.at, 0)), expect.Err(tt.tr.Connect(soon(t), tt.at))} {
			expect.As[*OpError](t, err)
			require.NotErrorIs(t, err, ErrPanic)
			errno := expect.As[syscall.Errno](t, err)
			require.Contains(t, []syscall.Errno{syscall.EINVAL, syscall.EAFNOSUPPORT}, errno)
		}
	}
}

func TestUnixPaths(t *testing.T) {
	dir := sockdir.New(t)
	at := UnixAddr(dir + "/s")

	// A socket file that a dead process left is taken over.
	fd := expect.NoError(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)).In(t)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: at.Path()}))
	require.NoError(t, unix.Close(fd))
	require.FileExists(t, at.Path())
	l := expect.NoError(Unix().Listen(at, 0)).In(t)

	// Close removes the path, Release leaves it.
	require.NoError(t, l.Close())
	require.NoFileExists(t, at.Path())
	l = expect.NoError(Unix().Listen(at, 0)).In(t)
	require.NoError(t, l.Release())
	require.FileExists(t, at.Path())
}
