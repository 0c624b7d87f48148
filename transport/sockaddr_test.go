package transport

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/race"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// image is a struct sockaddr of the platform.
func image(family uint16, rest ...byte) []byte {
	return append(appendFamily(nil, family, sockaddrPath+len(rest)), rest...)
}

func imageUnix(path string) []byte { return image(syscall.AF_UNIX, []byte(path)...) }

// inet6 is the rest of a sockaddr_in6.
func inet6(port uint16, ip string, zone uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, port)
	b = append(b, 0, 0, 0, 0)
	sixteen := netip.MustParseAddr(ip).As16()
	b = append(b, sixteen[:]...)
	b = binary.NativeEndian.AppendUint32(b, zone)
	return append(b, make([]byte, sys.SizeofInet6-usedInet6)...)
}

var inet4 = []byte{0x11, 0x11, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0}

func TestSockaddrImages(t *testing.T) {
	longest := strings.Repeat("p", sys.MaxUnixPath)
	for _, tt := range []struct {
		name string
		addr Addr
		b    []byte
	}{
		{"IPv4", FromAddrPort(netip.MustParseAddrPort("10.1.2.3:4369")), image(syscall.AF_INET, inet4...)},
		{"IPv6", FromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:80")), image(syscall.AF_INET6, inet6(80, "2001:db8::1", 0)...)},
		{"zone", FromAddrPort(netip.MustParseAddrPort("[fe80::1%7]:80")), image(syscall.AF_INET6, inet6(80, "fe80::1", 7)...)},
		{"path", UnixAddr("/run/x"), imageUnix("/run/x\x00")},
		{"longest path", UnixAddr(longest), imageUnix(longest + "\x00")},
		{"unnamed", UnixAddr(""), image(syscall.AF_UNIX)},
	} {
		b, err := AppendSockaddr([]byte("before"), tt.addr)
		require.NoError(t, err, tt.name)
		require.Equal(t, append([]byte("before"), tt.b...), b, tt.name)
		b, err = AppendSockaddr(nil, WithPeerName(tt.addr, "n@h"))
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.b, b, tt.name)
		a, err := ParseSockaddr(tt.b)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.addr, a, tt.name)

		// a struct sockaddr_storage, of which the system says no length
		storage := make([]byte, 128)
		copy(storage, tt.b)
		if sys.SockaddrHasLen {
			storage[0] = 0
		}
		a, err = ParseSockaddr(storage)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.addr, a, tt.name)
	}
	b := expect.NoError(AppendSockaddr(nil, &net.UnixAddr{Name: "/x"})).In(t)
	require.Equal(t, imageUnix("/x\x00"), b)
	a := expect.NoError(ParseSockaddr(imageUnix("/without NUL"))).In(t)
	require.Equal(t, UnixAddr("/without NUL"), a)
	a = expect.NoError(ParseSockaddr(imageUnix("\x00"))).In(t)
	require.Equal(t, UnixAddr(""), a)
	a = expect.NoError(ParseSockaddr(image(syscall.AF_INET6, inet6(80, "::ffff:10.1.2.3", 0)...))).In(t)
	require.Equal(t, "10.1.2.3:80", a.String())
}

func TestSockaddrAbstractNames(t *testing.T) {
	b := imageUnix("\x00name")
	a := expect.NoError(ParseSockaddr(b)).In(t)
	if !sys.AbstractNames {
		require.Equal(t, UnixAddr(""), a)
		return
	}
	require.Equal(t, UnixAddr("@name"), a)
	require.Equal(t, b, expect.NoError(AppendSockaddr(nil, a)).In(t))
	file := expect.NoError(ParseSockaddr(imageUnix("@name\x00"))).In(t)
	require.Equal(t, UnixAddr("./@name"), file, "a file, not an abstract name")
	whole := "name" + strings.Repeat("\x00", sys.MaxUnixPath-len("name"))
	behind := expect.NoError(ParseSockaddr(imageUnix("\x00" + whole + "behind"))).In(t)
	require.Equal(t, UnixAddr("@"+whole), behind)
	for _, name := range []string{"na\x00me", "name\x00", "\x00name", strings.Repeat("n", sys.MaxUnixPath)} {
		a := expect.NoError(ParseSockaddr(imageUnix("\x00" + name))).In(t)
		require.Equal(t, UnixAddr("@"+name), a)
		b := expect.NoError(AppendSockaddr(nil, a)).In(t)
		require.Equal(t, imageUnix("\x00"+name), b)
	}
	none := expect.NoError(ParseSockaddr(imageUnix(strings.Repeat("\x00", sys.MaxUnixPath+1)))).In(t)
	require.Equal(t, UnixAddr(""), none)
}

func TestSockaddrRefused(t *testing.T) {
	four, six := image(syscall.AF_INET, inet4...), image(syscall.AF_INET6, inet6(80, "::1", 0)...)
	for name, whole := range map[string][]byte{"sockaddr_in": four, "sockaddr_in6": six} {
		for n := range whole {
			require.ErrorIs(t, expect.Err(ParseSockaddr(whole[:n])), syscall.EINVAL, "%d bytes of a %s", n, name)
		}
	}
	for _, family := range []uint16{0, 3, 17, 29, 99, 255} {
		if family == syscall.AF_INET6 {
			continue
		}
		_, err := ParseSockaddr(image(family, make([]byte, 30)...))
		require.ErrorIs(t, err, syscall.EAFNOSUPPORT, family)
	}
	if sys.SockaddrHasLen {
		b := image(syscall.AF_INET, inet4...)
		b[0]++
		require.ErrorIs(t, expect.Err(ParseSockaddr(b)), syscall.EINVAL, "sa_len beyond the end")
	}
	_, err := ParseSockaddr(imageUnix(strings.Repeat("p", sys.MaxUnixPath+1)))
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)

	for _, tt := range []struct {
		addr Addr
		want error
	}{
		{MemoryAddr("x"), syscall.EAFNOSUPPORT},
		{nil, syscall.EAFNOSUPPORT},
		{FromAddrPort(netip.AddrPort{}), syscall.EAFNOSUPPORT},
		{FromAddrPort(netip.MustParseAddrPort("[fe80::1%no-such-interface]:80")), syscall.EINVAL},
		{FromAddrPort(netip.MustParseAddrPort("[fe80::1%4294967296]:80")), syscall.EINVAL},
		{UnixAddr(strings.Repeat("p", sys.MaxUnixPath+1)), syscall.ENAMETOOLONG},
		{UnixAddr("/a\x00b"), syscall.EINVAL},
		{UnixAddr("@"), syscall.EINVAL},
	} {
		b, err := AppendSockaddr([]byte("before"), tt.addr)
		require.ErrorIs(t, err, tt.want, "%v", tt.addr)
		require.Equal(t, "before", string(b))
		require.NotContains(t, err.Error(), "<nil>")
	}
}

func TestFromUnixPath(t *testing.T) {
	for _, path := range []string{"", "/run/x", "relative", "@name", strings.Repeat("p", sys.MaxUnixPath)} {
		a := expect.NoError(FromUnixPath(path)).In(t)
		require.Equal(t, path, expect.NoError(UnixPath(WithPeerName(a, "n@h"))).In(t))
	}
	for path, want := range map[string]error{
		strings.Repeat("p", sys.MaxUnixPath+1): syscall.ENAMETOOLONG,
		"/a\x00b":                              syscall.EINVAL,
		"@":                                    syscall.EINVAL,
	} {
		a, err := FromUnixPath(path)
		require.ErrorIs(t, err, want)
		require.Nil(t, a)
	}
	for _, a := range []Addr{loopback(), MemoryAddr("x"), nil, &net.TCPAddr{}} {
		require.ErrorIs(t, expect.Err(UnixPath(a)), syscall.EINVAL)
	}
	require.Equal(t, "/x", expect.NoError(UnixPath(&net.UnixAddr{Name: "/x"})).In(t))
}

// Any address comes back from its image, and no other length of it is taken for it.
func TestSockaddrRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		port := rapid.Uint16().Draw(t, "port")
		var a Addr
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			a = FromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip"))), port))
		case 1:
			a = FromAddrPort(netip.AddrPortFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip"))), port))
		default:
			path := rapid.StringMatching(`[/a-z.-][ -~é]{0,60}`).Draw(t, "path")
			u := expect.NoError(FromUnixPath(path)).In(t)
			a = u
		}
		b := expect.NoError(AppendSockaddr(nil, a)).In(t)
		require.Equal(t, a, expect.NoError(ParseSockaddr(b)).In(t))
	})
}

func FuzzParseSockaddr(f *testing.F) {
	f.Add(image(syscall.AF_INET, inet4...))
	f.Add(image(syscall.AF_INET6, inet6(80, "fe80::1", 7)...))
	f.Add(imageUnix("/run/x\x00"))
	f.Add(imageUnix("\x00name"))
	f.Add(imageUnix("@name"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseSockaddr(b)
		if err != nil {
			require.Nil(t, a)
			return
		}
		again := expect.NoError(AppendSockaddr(nil, a)).In(t)
		require.Equal(t, a, expect.NoError(ParseSockaddr(again)).In(t))
	})
}

func TestSockaddrAllocations(t *testing.T) {
	race.Allocates(t)
	b := make([]byte, 0, 128)
	four, six := loopback(), FromAddrPort(netip.MustParseAddrPort("[::1]:80"))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = AppendSockaddr(b, four)
		_, _ = AppendSockaddr(b, six)
	}))
}
