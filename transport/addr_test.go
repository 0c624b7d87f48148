package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

func TestParseAddr(t *testing.T) {
	longest := strings.Repeat("p", sys.MaxUnixPath)
	for _, tt := range []struct {
		in      string
		network string
		out     string // the String form; "" means: as in
		err     error
	}{
		{in: "127.0.0.1:0", network: "tcp"},
		{in: "127.0.0.1:65535", network: "tcp"},
		{in: "[::1]:4370", network: "tcp"},
		{in: "[fe80::1%2]:4370", network: "tcp"},
		{in: "0.0.0.0:4369", network: "tcp"},
		{in: ":4369", network: "tcp", out: "0.0.0.0:4369"},
		{in: "[::ffff:10.0.0.1]:80", network: "tcp", out: "10.0.0.1:80"},
		{in: "[0:0::1]:80", network: "tcp", out: "[::1]:80"},
		{in: "unix:/run/x.sock", network: "unix"},
		{in: "unix:relative", network: "unix"},
		{in: "unix:@abstract", network: "unix"},
		{in: "unix:" + longest, network: "unix"},

		{in: "unix:" + longest + "p", err: syscall.ENAMETOOLONG},
		{in: "unix:@p" + longest, err: syscall.ENAMETOOLONG},
		{in: "unix:@\x00", err: syscall.EINVAL},
		{in: "unix:", err: syscall.EINVAL},
		{in: "unix:@", err: syscall.EINVAL},
		{in: "unix:/a\x00b", err: syscall.EINVAL},
		{in: "", err: syscall.EINVAL},
		{in: "127.0.0.1", err: syscall.EINVAL},
		{in: "127.0.0.1:", err: syscall.EINVAL},
		{in: "127.0.0.1:65536", err: syscall.EINVAL},
		{in: "127.0.0.1:-1", err: syscall.EINVAL},
		{in: "127.0.0.1:http", err: syscall.EINVAL},
		{in: "::1:80", err: syscall.EINVAL},
		{in: "localhost:80", err: syscall.EINVAL},
		{in: "/run/x.sock", err: syscall.EINVAL},
		{in: "UNIX:/run/x.sock", err: syscall.EINVAL},
	} {
		a, err := ParseAddr(tt.in)
		if tt.err != nil {
			require.ErrorIs(t, err, tt.err, "%q", tt.in)
			require.Contains(t, err.Error(), fmt.Sprintf("address %q: ", tt.in), "as it was given")
			require.Nil(t, a, "%q", tt.in)
			continue
		}
		require.NoError(t, err, "%q", tt.in)
		require.Equal(t, tt.network, a.Network(), "%q", tt.in)
		want := tt.out
		if want == "" {
			want = tt.in
		}
		require.Equal(t, want, a.String(), "%q", tt.in)
		again, err := ParseAddr(a.String())
		require.NoError(t, err, "%q", tt.in)
		require.Equal(t, a, again, "%q", tt.in)
	}
}

func TestAddrPort(t *testing.T) {
	four, six := netip.MustParseAddrPort("10.1.2.3:4369"), netip.MustParseAddrPort("[2001:db8::1]:4370")
	for _, tt := range []struct {
		name string
		in   Addr
		want netip.AddrPort
	}{
		{"IPv4", FromAddrPort(four), four},
		{"IPv6", FromAddrPort(six), six},
		{"mapped", FromAddrPort(netip.MustParseAddrPort("[::ffff:10.1.2.3]:4369")), four},
		{"with a name", WithPeerName(FromAddrPort(four), "n@h"), four},
		{"of package net", net.TCPAddrFromAddrPort(six), six},
		{"of package net, mapped", &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4369}, four},
		{"of package net, no IP", &net.TCPAddr{Port: 4369}, netip.MustParseAddrPort("0.0.0.0:4369")},
		{"of package net, no IP, UDP", &net.UDPAddr{Port: 4369}, netip.MustParseAddrPort("0.0.0.0:4369")},

		{"unix", UnixAddr("/x"), netip.AddrPort{}},
		{"unix of package net", &net.UnixAddr{Name: "/x"}, netip.AddrPort{}},
		{"memory", MemoryAddr("x"), netip.AddrPort{}},
		{"unix with a name", WithPeerName(UnixAddr("/x"), "n@h"), netip.AddrPort{}},
		{"nil", nil, netip.AddrPort{}},
		{"nil of package net", (*net.TCPAddr)(nil), netip.AddrPort{}},
		{"no port", &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 70000}, netip.AddrPort{}},
		{"half an IP", &net.TCPAddr{IP: net.IP{10, 1}, Port: 1}, netip.AddrPort{}},
		{"nor one", &net.UDPAddr{IP: net.IPv4(10, 1, 2, 3), Port: -1}, netip.AddrPort{}},
		{"zero", FromAddrPort(netip.AddrPort{}), netip.AddrPort{}},
	} {
		got, err := AddrPort(tt.in)
		if !tt.want.IsValid() {
			require.ErrorIs(t, err, syscall.EINVAL, tt.name)
		} else {
			require.NoError(t, err, tt.name)
		}
		require.Equal(t, tt.want, got, tt.name)
	}
}

func TestAddrPortRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ip netip.Addr
		if rapid.Bool().Draw(t, "four") {
			ip = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")))
		} else {
			ip = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip"))).Unmap()
		}
		ap := netip.AddrPortFrom(ip, rapid.Uint16().Draw(t, "port"))
		a := FromAddrPort(ap)
		require.Equal(t, ap, expect.NoError(AddrPort(a)).In(t))
		require.Equal(t, a, expect.NoError(ParseAddr(a.String())).In(t))
	})
}

func TestWithPeerName(t *testing.T) {
	require.Nil(t, WithPeerName(nil, "one@host"))
	a := WithPeerName(UnixAddr("/x"), "one@host")
	named, ok := a.(interface{ PeerName() string })
	require.True(t, ok)
	require.Equal(t, "one@host", named.PeerName())
	require.Equal(t, "unix", a.Network())
	require.Equal(t, "unix:/x", a.String())

	again := WithPeerName(a, "two@host")
	require.Equal(t, "two@host", again.(interface{ PeerName() string }).PeerName())
	require.Equal(t, UnixAddr("/x"), again.(interface{ Unwrap() Addr }).Unwrap())
	_, ok = Addr(UnixAddr("/x")).(interface{ PeerName() string })
	require.False(t, ok)
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"127.0.0.1:0", "[::1]:4370", "unix:/run/x.sock", "unix:@abstract", ":1", "", "[fe80::1%eth0]:1", "unix:\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddr(s)
		if err != nil {
			return
		}
		require.Equal(t, a, expect.NoError(ParseAddr(a.String())).In(t))
	})
}
