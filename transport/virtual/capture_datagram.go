package virtual

import (
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// maxUDP is the longest datagram that an IPv4 packet has room for.
const maxUDP = 1<<16 - 1 - ipv4Head - udpHead

// datagram writes a datagram as a UDP packet. It does nothing for a nil Capture.
func (c *Capture) datagram(at time.Time, from, to transport.Addr, p []byte) {
	if c == nil {
		return
	}
	one, other := inetEnd(from), inetEnd(to)
	one, other = oneFamily(one, other), oneFamily(other, one)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packet = packet{from: one, to: other, udp: true, data: [][]byte{p[:min(len(p), maxUDP)]}}.appendRecord(c.packet[:0], at)
	c.write(c.packet)
}

// inetEnd returns the inet address of one end of a datagram's way; any other address becomes a
// loopback one, with a port derived from its name.
func inetEnd(a transport.Addr) netip.AddrPort {
	if a != nil {
		if ap, err := transport.AddrPort(a); err == nil {
			return ap
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(text(a))) // it has no errors
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(firstMadeUp+h.Sum32()%madeUpPorts))
}
