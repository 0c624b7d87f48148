package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Addr is the address of an endpoint. It is open: a plug-in may have kinds of its own. The String
// form is for people and logs; AddrPort, Host, Port and UnixPath return what an address holds. An
// address that a plug-in is to connect to may be wrapped, see WithPeerName. See the tsocket guide,
// "The tsocket_address abstraction".
type Addr interface{ net.Addr }

// An inetAddr is an IPv4 or IPv6 endpoint.
type inetAddr struct{ ap netip.AddrPort }

func (a inetAddr) Network() string { return "tcp" }
func (a inetAddr) String() string  { return a.ap.String() }

// A UnixAddr is the path of a UNIX socket; a leading "@" marks an abstract name (Linux). The empty
// one is an unnamed socket.
type UnixAddr string

// Network returns "unix".
func (a UnixAddr) Network() string { return "unix" }

// String returns the form that ParseAddr reads, "" for an unnamed socket.
func (a UnixAddr) String() string {
	if a == "" {
		return ""
	}
	return "unix:" + string(a)
}

// Path is the path, or the abstract name with its "@".
func (a UnixAddr) Path() string { return string(a) }

// FromAddrPort makes the address of an IPv4 or IPv6 endpoint. An IPv4-mapped IPv6 address becomes
// an IPv4 one, and a zone becomes the number of its interface, as the system has it, so that equal
// endpoints have equal addresses, wherever these come from. A zone that names no interface here
// stays as it is.
func FromAddrPort(ap netip.AddrPort) Addr { return inetAddr{canonical(ap)} }

func canonical(ap netip.AddrPort) netip.AddrPort {
	ip := ap.Addr().Unmap()
	if zone := ip.Zone(); zone != "" {
		if id, err := zoneID(zone); err == nil {
			ip = withZone(ip, id)
		}
	}
	return netip.AddrPortFrom(ip, ap.Port())
}

func withZone(ip netip.Addr, id uint32) netip.Addr {
	if id == 0 { // none
		return ip.WithZone("")
	}
	return ip.WithZone(strconv.FormatUint(uint64(id), 10))
}

// otherFamily is the error of an address of a kind that is none of those wanted, or of none.
func otherFamily(a Addr) error {
	if a == nil {
		return fmt.Errorf("no address: %w", syscall.EAFNOSUPPORT)
	}
	return fmt.Errorf("address %v: %w", a, syscall.EAFNOSUPPORT)
}

// AddrPort returns the IP address and port of an inet address; EINVAL for any other kind.
func AddrPort(a Addr) (netip.AddrPort, error) {
	switch a := plain(a).(type) {
	case nil:
		return netip.AddrPort{}, fmt.Errorf("no address: %w", syscall.EINVAL)
	case inetAddr:
		if a.ap.IsValid() {
			return a.ap, nil
		}
	case interface{ AddrPort() netip.AddrPort }: // net.TCPAddr and the like
		ap := a.AddrPort()
		ip, port, ofNet := netParts(a)
		if ofNet && len(ip) == 0 { // the wildcard, as in ParseAddr
			ap = netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port())
		}
		if ap.IsValid() && (!ofNet || port == int(ap.Port())) {
			return canonical(ap), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("address %q is not an inet one: %w", a, syscall.EINVAL)
}

// netParts are the IP address and the port of an address of package net, whose AddrPort cuts off
// the upper bits of a port that is too large; false for any other.
func netParts(a any) (ip net.IP, port int, ok bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a != nil {
			return a.IP, a.Port, true
		}
	case *net.UDPAddr:
		if a != nil {
			return a.IP, a.Port, true
		}
	}
	return nil, 0, false
}

// ParseAddr reads "127.0.0.1:0", "[::1]:4370", "unix:/run/x.sock", "unix:@abstract". An empty host
// is the IPv4 wildcard. Names are not resolved. A path beyond the kernel's limit is ENAMETOOLONG,
// anything else that cannot be read EINVAL.
func ParseAddr(s string) (Addr, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		err := checkUnixPath(path)
		if path == "" {
			err = fmt.Errorf("empty path: %w", syscall.EINVAL)
		}
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", s, err)
		}
		return UnixAddr(path), nil
	}
	text := s
	if strings.HasPrefix(s, ":") {
		text = "0.0.0.0" + s
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, fmt.Errorf("address %q: want IP:PORT, [IPv6]:PORT or unix:PATH: %w", s, syscall.EINVAL)
	}
	return FromAddrPort(ap), nil
}

// A namedAddr carries the node name of the peer that the address belongs to.
type namedAddr struct {
	Addr
	node string
}

func (a namedAddr) PeerName() string { return a.node }
func (a namedAddr) Unwrap() Addr     { return a.Addr }

// WithPeerName attaches the name of the node that will be spoken to at a. Node.Connect gives such
// addresses to Socket and Connect, and to the Dial of a Net; a plug-in reads the name by interface{
// PeerName() string }, for a TLS server name, say. AddrPort, UnixPath and the like see through it.
// A plug-in with a kind of address of its own unwraps it by interface{ Unwrap() Addr } before a
// type assertion.
func WithPeerName(a Addr, node string) Addr {
	if a = plain(a); a == nil {
		return nil // still no address
	}
	return namedAddr{a, node}
}

// plain takes off what wraps an address.
func plain(a Addr) Addr {
	for {
		u, ok := a.(interface{ Unwrap() Addr })
		if !ok {
			return a
		}
		a = u.Unwrap()
	}
}

// orUnnamed gives an unnamed UNIX socket's address in place of none.
func orUnnamed(a Addr) Addr {
	if a == nil {
		return UnixAddr("")
	}
	return a
}
