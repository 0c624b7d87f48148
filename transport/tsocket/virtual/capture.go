package virtual

import (
	"hash/fnv"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pcap"
)

// A Capture writes what [Trace] sees to a file that Wireshark, tshark and tcpdump read: a pcap file
// of UDP packets, one for each end that is traced, so one that was sent and did not arrive can be
// seen. They are in the order in which they were recorded, with the times at which they were sent
// or had come. Addresses that are not inet ones become loopback ones, with a port derived from the
// name; of a longer datagram the first 65,507 bytes are there.
//
// A Capture is safe for concurrent use. What passes waits while the file is written to.
type Capture struct {
	mu  sync.Mutex
	w   io.Writer
	err error
	buf []byte
}

// NewCapture begins a capture file. w stays the caller's.
func NewCapture(w io.Writer) *Capture {
	c := &Capture{w: w}
	_, c.err = w.Write(pcap.FileHeader())
	return c
}

// Err is the first error of the file, after which nothing is written any more: it disturbs no
// socket.
func (c *Capture) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// datagram writes a datagram as a UDP packet. It does nothing for a nil Capture.
func (c *Capture) datagram(at time.Time, from, to transport.Addr, p []byte) {
	if c == nil {
		return
	}
	one, other := inetEnd(from), inetEnd(to)
	one, other = pcap.OneFamily(one, other), pcap.OneFamily(other, one)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.buf = pcap.Packet{From: one, To: other, UDP: true, Data: [][]byte{p[:min(len(p), pcap.MaxUDP)]}}.AppendRecord(c.buf[:0], at)
	_, c.err = c.w.Write(c.buf)
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
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(pcap.FirstPort+h.Sum32()%pcap.Ports))
}
