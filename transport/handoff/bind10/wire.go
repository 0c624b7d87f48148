package bind10

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// The session forwarding format of BIND 10 (socketsession.h, "Internal forwarding protocol"): a
// byte with the descriptor, a header, data.
const (
	// MaxData is the most data that a session can carry, in bytes; the least is 1.
	MaxData = 65535

	sessionLead    = 1 + 2                         // the byte, and the length field, which counts neither
	fixedHeader    = 6 * 4                         // the header's numbers
	maxSockaddr    = 128                           // sizeof(struct sockaddr_storage)
	maxHeader      = fixedHeader + 2*maxSockaddr   //
	sessionBuffers = 2 * (2 + maxHeader + MaxData) // of the sockets, as BIND 10 has them
)

// A Header is what a socket session says beside its descriptor and its data. For a connection, the
// receiver could ask the socket for the endpoints; for a datagram it could not.
type Header struct {
	// Family is AF_INET, AF_INET6, or AF_UNIX, which BIND 10's programs do not have: its endpoints may
	// be of any family, such as those of the client whose bytes come through a socket pair.
	Family   int
	Type     int // SOCK_STREAM or SOCK_DGRAM
	Protocol int // IPPROTO_TCP, IPPROTO_UDP; other values are passed on, too
	Local    transport.Addr
	Remote   transport.Addr
}

// AppendSession appends a session as it goes over the stream: its descriptor belongs beside the
// first byte. It is for a program that sends sessions itself, and waits for room, which a Forwarder
// never does. EINVAL for values that a session cannot have; then b is returned as it was.
func AppendSession(b []byte, h Header, data []byte) ([]byte, error) {
	b, err := appendSession(b, &h, len(data))
	if err != nil {
		return b, fault.Failed("describe", h.Remote, err)
	}
	return append(b, data...), nil
}

// appendSession appends what precedes the data: the byte, and the header with its length. EINVAL
// for values that a session cannot have.
func appendSession(b []byte, h *Header, size int) ([]byte, error) {
	if size < 1 || size > MaxData {
		return b, fmt.Errorf("%d bytes of session data, want 1 to %d: %w", size, MaxData, syscall.EINVAL)
	}
	start := len(b)
	b = append(b, 0, 0, 0) // the length follows
	for _, n := range [...]int{h.Family, h.Type, h.Protocol} {
		if n < 0 || n > math.MaxInt32 {
			return b[:start], fmt.Errorf("a session of family %d, type %d, protocol %d: %w", h.Family, h.Type, h.Protocol, syscall.EINVAL)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for _, e := range [...]struct {
		name string
		addr transport.Addr
	}{{"local", h.Local}, {"remote", h.Remote}} {
		b = append(b, 0, 0, 0, 0)
		at := len(b)
		var err error
		if b, err = appendImage(b, h.Family, e.addr); err != nil {
			return b[:start], fmt.Errorf("%s endpoint: %w", e.name, err)
		}
		binary.BigEndian.PutUint32(b[at-4:], uint32(len(b)-at))
	}
	if err := oneSocket(h); err != nil {
		return b[:start], fmt.Errorf("%w: %w", err, syscall.EINVAL)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	binary.BigEndian.PutUint16(b[start+1:], uint16(len(b)-start-sessionLead))
	return b, nil
}

// parseHeader reads a header, which begins behind its length. size is how much data follows.
func parseHeader(b []byte) (h Header, size int, err error) {
	rest := b
	number := func(what string) (n uint32) {
		if err == nil && len(rest) < 4 {
			err = fault.Malformed("the session's header ends within its %s", what)
		}
		if err != nil {
			return 0
		}
		n, rest = binary.BigEndian.Uint32(rest), rest[4:]
		return n
	}
	endpoint := func(what string) (a transport.Addr) {
		n := number("length of an endpoint")
		switch {
		case err != nil:
		case n > maxSockaddr:
			err = fault.Malformed("the session's %s endpoint has %d bytes, more than %d", what, n, maxSockaddr)
		case int(n) > len(rest):
			err = fault.Malformed("the session's header ends within its %s endpoint", what)
		default:
			a, err = parseImage(rest[:n], h.Family)
			if rest = rest[n:]; err != nil {
				err = fault.Malformed("the session's %s endpoint: %v", what, err)
			}
		}
		return a
	}
	small := func(what string) int {
		n := number(what)
		if n > math.MaxInt32 {
			err = fault.Malformed("the session's %s is %d", what, int32(n))
		}
		return int(int32(n))
	}
	h.Family = small("family")
	if err == nil && h.Family != syscall.AF_INET && h.Family != syscall.AF_INET6 && h.Family != syscall.AF_UNIX {
		return Header{}, 0, fault.Malformed("the session is of family %d", h.Family)
	}
	h.Type = small("type")
	h.Protocol = small("protocol")
	h.Local = endpoint("local")
	h.Remote = endpoint("remote")
	n := number("length of data")
	switch {
	case err != nil:
	case n < 1 || n > MaxData:
		err = fault.Malformed("%d bytes of session data, want 1 to %d", n, MaxData)
	case len(rest) > 0:
		err = fault.Malformed("%d bytes behind the session's header", len(rest))
	case oneSocket(&h) != nil:
		err = fault.Malformed("%v", oneSocket(&h))
	default:
		return h, int(n), nil
	}
	return Header{}, 0, err
}

// oneSocket checks that one socket can have both endpoints: on an IPv6 socket a peer over IPv4 has
// a mapped address, and the socket's own one is mapped, too, or the wildcard.
func oneSocket(h *Header) error {
	if h.Family == syscall.AF_UNIX {
		return nil
	}
	local, err := transport.AddrPort(h.Local)
	if err != nil {
		return err
	}
	remote, err := transport.AddrPort(h.Remote)
	if err != nil {
		return err
	}
	if local.Addr().Is4() != remote.Addr().Is4() && local.Addr() != netip.IPv6Unspecified() {
		return fmt.Errorf("no socket at %v has a peer at %v", h.Local, h.Remote)
	}
	return nil
}

// appendImage appends the struct sockaddr of an endpoint. With family AF_INET6 an IPv4 address
// becomes a mapped one.
func appendImage(b []byte, family int, a transport.Addr) ([]byte, error) {
	if a == nil {
		return b, fmt.Errorf("no address: %w", syscall.EINVAL)
	}
	if family == syscall.AF_UNIX {
		return transport.AppendSockaddr(b, a)
	}
	ap, err := transport.AddrPort(a)
	switch {
	case err != nil:
		return b, err
	case family == syscall.AF_INET && !ap.Addr().Is4(), family != syscall.AF_INET && family != syscall.AF_INET6:
		return b, fmt.Errorf("address %v is not of family %d: %w", a, family, syscall.EINVAL)
	case family == syscall.AF_INET6 && ap.Addr().Is4():
		const address = 2 + 2 + 4 // behind family, port and flow label
		at := len(b)
		b, err = transport.AppendSockaddr(b, transport.FromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())))
		if err == nil {
			mapped := ap.Addr().As16()
			copy(b[at+address:], mapped[:])
		}
		return b, err
	}
	return transport.AppendSockaddr(b, a)
}

// parseImage reads a struct sockaddr, which must be of the given family, unless that is AF_UNIX.
func parseImage(b []byte, family int) (transport.Addr, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("a sockaddr of %d bytes", len(b))
	}
	own := int(binary.NativeEndian.Uint16(b))
	if sys.SockaddrHasLen {
		own = int(b[1])
	}
	if own != family && family != syscall.AF_UNIX {
		return nil, fmt.Errorf("a sockaddr of family %d in a session of family %d", own, family)
	}
	return transport.ParseSockaddr(b)
}
