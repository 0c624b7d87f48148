package virtual

import (
	"io"
	"sync"

	"github.com/cnode-go/cnode/transport/internal/pcap"
)

// A Capture writes what [Trace] sees to a file that Wireshark, tshark and tcpdump read: a pcap file
// of Ethernet, IP and TCP packets, which are made up around the bytes of each connection, with its
// addresses and ports, sequence numbers, checksums, a SYN at its beginning and a FIN or RST at its
// end. Addresses that are not inet ones (UNIX, memory) become loopback ones: 127.0.0.1, port 4370
// at the accepting end, ports from 49152 on at the connecting one. Where both ends of a TCP
// connection are traced into one file, it is there once.
//
// Wireshark takes a connection for the Erlang distribution when it is told its port, and shows each
// handshake and control message:
//
//	tshark -r FILE -d tcp.port==PORT,erldp -V
//
// It does so for handshakes whose packets have a length of 2 bytes before them, not for those of a
// TLS transport, which has 4.
//
// A Capture is safe for concurrent use. A file that cannot be written disturbs no connection: it
// ends there, and Flush and Close return the first error. One whose Write panics ends each
// connection that is traced (transport.ErrPanic), and one that takes its time, a pipe say, holds up
// what is traced for as long.
type Capture struct {
	w io.Writer

	mu     sync.Mutex
	err    error // the first one of w, after which nothing is written any more
	closed bool
	ends   int    // made-up ports so far
	first  uint32 // sequence number of the next flow
	flows  map[flowKey]*flow
	packet []byte
}

// NewCapture begins a capture file. w stays the caller's, who closes it after Close. What is
// captured reaches w at once: what is read, when it has been read; a long write, when it has ended,
// for only then is it known how much of it is out; and a packet of a handshake, when it is whole.
func NewCapture(w io.Writer) *Capture {
	c := &Capture{w: w, flows: map[flowKey]*flow{}}
	c.write(pcap.FileHeader())
	return c
}

// write takes a whole packet; c.mu is held, or c is not yet known to others.
func (c *Capture) write(b []byte) {
	if c.closed || c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	c.err = err
}

// Flush writes what is there of packets of a handshake that are not whole, and returns the first
// error of the file. It does not wait for writes in progress.
func (c *Capture) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flows {
		f.spill(outward)
		f.spill(inward)
	}
	return c.err
}

// Close is Flush that ends the capture: what connections do later is not captured. It is
// idempotent.
func (c *Capture) Close() error {
	_ = c.Flush() // its error is in err
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.flows = true, nil
	return c.err
}
