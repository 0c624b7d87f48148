package transport

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestParseInet(t *testing.T) {
	for _, tt := range []struct {
		family, host string
		want         string
		err          error
	}{
		{"ipv4", "10.1.2.3", "10.1.2.3:4369", nil},
		{"ipv6", "2001:db8::1", "[2001:db8::1]:4369", nil},
		{"ipv6", "fe80::1%7", "[fe80::1%7]:4369", nil},
		{"ip", "10.1.2.3", "10.1.2.3:4369", nil},
		{"ip", "::1", "[::1]:4369", nil},
		{"ip", "::ffff:10.1.2.3", "10.1.2.3:4369", nil},
		{"ipv4", "::ffff:10.1.2.3", "10.1.2.3:4369", nil},
		{"ipv4", "", "0.0.0.0:4369", nil},
		{"ipv6", "", "[::]:4369", nil},
		{"ip", "", "[::]:4369", nil},
		{"IPv4", "10.1.2.3", "10.1.2.3:4369", nil},
		{"IP", "::1", "[::1]:4369", nil},

		{"ipv4", "::1", "", syscall.EINVAL},
		{"ipv6", "10.1.2.3", "", syscall.EINVAL},
		{"ipv6", "::ffff:10.1.2.3", "", syscall.EINVAL},
		{"ip", "localhost", "", syscall.EINVAL},
		{"ipv4", "localhost", "", syscall.EINVAL},
		{"ipv6", "ip6-localhost", "", syscall.EINVAL},
		{"ip", "10.1.2.3:80", "", syscall.EINVAL},
		{"ip", "[::1]", "", syscall.EINVAL},
		{"ip", "010.1.2.3", "", syscall.EINVAL},
		{"ip", "10.1.2", "", syscall.EINVAL},
		{"ip", " 10.1.2.3", "", syscall.EINVAL},
		{"", "10.1.2.3", "", syscall.EAFNOSUPPORT},
		{"unix", "/x", "", syscall.EAFNOSUPPORT},
		{"ipv5", "", "", syscall.EAFNOSUPPORT},
	} {
		a, err := ParseInet(tt.family, tt.host, 4369)
		if tt.err != nil {
			require.ErrorIs(t, err, tt.err, "%s %q", tt.family, tt.host)
			require.Nil(t, a, "%s %q", tt.family, tt.host)
			continue
		}
		require.NoError(t, err, "%s %q", tt.family, tt.host)
		require.Equal(t, tt.want, a.String(), "%s %q", tt.family, tt.host)
		require.Equal(t, expect.NoError(ParseAddr(a.String())).In(t), a)
	}
}

func TestHostPortAndWithPort(t *testing.T) {
	a := FromAddrPort(netip.MustParseAddrPort("[fe80::1%7]:4369"))
	require.Equal(t, "fe80::1%7", expect.NoError(Host(a)).In(t))
	require.EqualValues(t, 4369, expect.NoError(Port(WithPeerName(a, "n@h"))).In(t))
	b := expect.NoError(WithPort(a, 80)).In(t)
	require.Equal(t, "[fe80::1%7]:80", b.String())
	require.Equal(t, "[fe80::1%7]:4369", a.String(), "the first is what it was")

	b = expect.NoError(WithPort(WithPeerName(a, "n@h"), 80)).In(t)
	require.Equal(t, "n@h", b.(interface{ PeerName() string }).PeerName())
	b = expect.NoError(WithPort(&net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 1}, 2)).In(t)
	require.Equal(t, FromAddrPort(netip.MustParseAddrPort("10.1.2.3:2")), b)

	for _, other := range []Addr{UnixAddr("/x"), MemoryAddr("x"), nil, &net.UnixAddr{Name: "/x"}, (*net.TCPAddr)(nil),
		FromAddrPort(netip.AddrPort{})} {
		host, err := Host(other)
		require.ErrorIs(t, err, syscall.EINVAL)
		require.Empty(t, host)
		port, err := Port(other)
		require.ErrorIs(t, err, syscall.EINVAL)
		require.Zero(t, port)
		require.ErrorIs(t, expect.Err(WithPort(other, 1)), syscall.EINVAL)
	}
}

func TestNetAddrOfAddr(t *testing.T) {
	four, six := FromAddrPort(netip.MustParseAddrPort("10.1.2.3:4369")), FromAddrPort(netip.MustParseAddrPort("[fe80::1%7]:4370"))
	for _, tt := range []struct {
		network string
		in      Addr
		want    net.Addr
		err     error
	}{
		{"tcp", four, &net.TCPAddr{IP: net.IP{10, 1, 2, 3}, Port: 4369}, nil},
		{"tcp4", four, &net.TCPAddr{IP: net.IP{10, 1, 2, 3}, Port: 4369}, nil},
		{"udp", six, &net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 4370, Zone: "7"}, nil},
		{"udp6", six, &net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 4370, Zone: "7"}, nil},
		{"unix", UnixAddr("/x"), &net.UnixAddr{Name: "/x", Net: "unix"}, nil},
		{"unixgram", UnixAddr("@x"), &net.UnixAddr{Name: "@x", Net: "unixgram"}, nil},
		{"unixpacket", UnixAddr(""), &net.UnixAddr{Net: "unixpacket"}, nil},
		{"tcp6", four, nil, syscall.EINVAL},
		{"udp4", six, nil, syscall.EINVAL},
		{"tcp", UnixAddr("/x"), nil, syscall.EINVAL},
		{"unix", four, nil, syscall.EINVAL},
		{"udp", MemoryAddr("x"), nil, syscall.EINVAL},
		{"udp", nil, nil, syscall.EINVAL},
		{"unix", nil, nil, syscall.EINVAL},
		{"sctp", four, nil, syscall.EAFNOSUPPORT},
	} {
		got, err := ToNetAddr(tt.network, WithPeerName(tt.in, "n@h"))
		if tt.err != nil {
			require.ErrorIs(t, err, tt.err, "%s %v", tt.network, tt.in)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tt.want, got)
		require.Equal(t, tt.in, FromNetAddr(got))
	}
	require.Equal(t, UnixAddr(""), FromNetAddr(&net.UnixAddr{Name: "@"}), "how package net shows an unnamed socket")
	require.Equal(t, UnixAddr(""), FromNetAddr((*net.UnixAddr)(nil)))
	require.Nil(t, FromNetAddr(nil))
	other := &net.IPNet{}
	require.Same(t, other, FromNetAddr(other))
}
