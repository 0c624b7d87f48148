package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// The platform's struct sockaddr as bytes: the family (behind a length byte on the BSDs), then
//
//	sockaddr_in    port (network order), IPv4 address, padding
//	sockaddr_in6   port (network order), flow label, IPv6 address, zone
//	sockaddr_un    path, a NUL at its end if there is room; on Linux NUL and an abstract name
const (
	sockaddrPath = 2 // where sun_path begins
	// sizes of sockaddr_in and sockaddr_in6 up to the last field used
	sizeofInet4 = 16
	usedInet4   = 8
	usedInet6   = 28
)

// ParseSockaddr reads the platform's struct sockaddr_in, sockaddr_in6 or sockaddr_un from its
// memory image. b is as long as the system says that it is; what follows the structure is ignored.
// Too short a one is EINVAL, any other family EAFNOSUPPORT, a path without room for its NUL
// ENAMETOOLONG. On Linux a sun_path that begins with a NUL is an abstract name, of all the bytes
// that b has of it, unless they are all NULs: then, and elsewhere, it is an unnamed socket. See
// tsocket_address_bsd_from_sockaddr.
func ParseSockaddr(b []byte) (Addr, error) {
	if len(b) < sockaddrPath {
		return nil, fmt.Errorf("sockaddr of %d bytes: %w", len(b), syscall.EINVAL)
	}
	family := int(binary.NativeEndian.Uint16(b))
	if sys.SockaddrHasLen {
		family = int(b[1])
		if n := int(b[0]); n > len(b) {
			return nil, fmt.Errorf("sockaddr of %d bytes that says it has %d: %w", len(b), n, syscall.EINVAL)
		} else if n >= sockaddrPath { // 0: it has not been filled in
			b = b[:n]
		}
	}
	switch family {
	case syscall.AF_INET:
		if len(b) < sizeofInet4 {
			return nil, fmt.Errorf("sockaddr_in of %d bytes: %w", len(b), syscall.EINVAL)
		}
		ip := netip.AddrFrom4([4]byte(b[4:usedInet4]))
		return FromAddrPort(netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[2:]))), nil
	case syscall.AF_INET6:
		if len(b) < sys.SizeofInet6 {
			return nil, fmt.Errorf("sockaddr_in6 of %d bytes: %w", len(b), syscall.EINVAL)
		}
		ip := withZone(netip.AddrFrom16([16]byte(b[8:24])), binary.NativeEndian.Uint32(b[24:]))
		return FromAddrPort(netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[2:]))), nil
	case syscall.AF_UNIX:
		return parseSunPath(b[sockaddrPath:])
	}
	return nil, fmt.Errorf("sockaddr of family %d: %w", family, syscall.EAFNOSUPPORT)
}

func parseSunPath(path []byte) (Addr, error) {
	path = path[:min(len(path), sys.MaxUnixPath+1)]
	if len(path) == 0 || path[0] == 0 {
		if len(bytes.TrimRight(path, "\x00")) == 0 || !sys.AbstractNames {
			return UnixAddr(""), nil
		}
		return FromUnixPath("@" + string(path[1:]))
	}
	if i := bytes.IndexByte(path, 0); i >= 0 {
		path = path[:i]
	}
	if sys.IsAbstract(string(path)) { // a file
		return FromUnixPath("./" + string(path))
	}
	return FromUnixPath(string(path))
}

// appendInet6 appends a sockaddr_in6, for an IPv4 address the mapped one.
func appendInet6(b []byte, ap netip.AddrPort) ([]byte, error) {
	zone, err := zoneID(ap.Addr().Zone())
	if err != nil {
		return b, err
	}
	start := len(b)
	b = appendFamily(b, syscall.AF_INET6, sys.SizeofInet6)
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	b = append(b, 0, 0, 0, 0) // flow label
	sixteen := ap.Addr().As16()
	b = append(b, sixteen[:]...)
	b = binary.NativeEndian.AppendUint32(b, zone)
	for len(b)-start < sys.SizeofInet6 {
		b = append(b, 0)
	}
	return b, nil
}

// AppendSockaddr appends the memory image of the platform's struct sockaddr for an inet or UNIX
// address: a whole sockaddr_in or sockaddr_in6, a sockaddr_un as far as it is used, its NUL
// included. EAFNOSUPPORT for any other kind, EINVAL for a zone that is no interface, ENAMETOOLONG
// for a path that does not fit. It allocates only what b lacks. See tsocket_address_bsd_sockaddr.
func AppendSockaddr(b []byte, a Addr) ([]byte, error) {
	if ap, ok := inetPort(a); ok {
		if ip := ap.Addr(); ip.Is4() {
			b = appendFamily(b, syscall.AF_INET, sizeofInet4)
			b = binary.BigEndian.AppendUint16(b, ap.Port())
			four := ip.As4()
			b = append(b, four[:]...)
			return append(b, make([]byte, sizeofInet4-usedInet4)...), nil
		}
		return appendInet6(b, ap)
	}
	u, ok := unixAddr(a)
	if !ok {
		return b, otherFamily(a)
	}
	path := u.Path()
	if err := checkUnixPath(path); err != nil {
		return b, fmt.Errorf("address %q: %w", path, err)
	}
	switch {
	case path == "":
		return appendFamily(b, syscall.AF_UNIX, sockaddrPath), nil
	case sys.IsAbstract(path):
		b = appendFamily(b, syscall.AF_UNIX, sockaddrPath+len(path))
		return append(append(b, 0), path[1:]...), nil
	default:
		b = appendFamily(b, syscall.AF_UNIX, sockaddrPath+len(path)+1)
		return append(append(b, path...), 0), nil
	}
}

// inetPort is AddrPort without the making of an error.
func inetPort(a Addr) (netip.AddrPort, bool) {
	if i, ok := a.(inetAddr); ok {
		return i.ap, i.ap.IsValid()
	}
	ap, err := AddrPort(a)
	return ap, err == nil
}

func appendFamily(b []byte, family uint16, size int) []byte {
	if sys.SockaddrHasLen {
		return append(b, byte(size), byte(family))
	}
	return binary.NativeEndian.AppendUint16(b, family)
}

func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("address zone %q: no such interface: %w", zone, syscall.EINVAL)
	}
	return uint32(i.Index), nil
}
