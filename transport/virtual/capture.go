package virtual

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/internal/pcap"
)

// A Capture writes what [Trace] sees to a file that Wireshark, tshark and tcpdump read: a pcap file
// of Ethernet, IP and TCP packets, which are made up around the bytes of each connection, with its
// addresses and ports, sequence numbers, checksums, a SYN at its beginning and a FIN or RST at its
// end. Addresses that are not inet ones (UNIX, memory) become loopback ones: 127.0.0.1, port 4370
// at the accepting end, ports from 49152 on at the connecting one. Where both ends of a TCP
// connection are traced into one file, it is there once.
//
// Datagrams are UDP packets there, one for each end that is traced, so one that was sent and did
// not arrive can be seen. They are in the order in which they were recorded, with the times at
// which they were sent or had come. Addresses that are not inet ones become loopback ones, too,
// with a port derived from the name; of a longer datagram the first 65,507 bytes are there.
//
// Wireshark takes a connection for the Erlang distribution when it is told its port, and shows each
// handshake and control message:
//
//	tshark -r FILE -d tcp.port==PORT,erldp -V
//
// It does so for handshakes whose packets have a length of 2 bytes before them, not for those of a
// TLS transport, which has 4.
//
// A Capture is safe for concurrent use. A file that cannot be written disturbs no connection: Flush
// and Close return the first error. A file that takes nothing holds up what is traced for a second
// at the most, and is then given up: ErrCaptureBehind. Flush and Close do not wait for it any
// longer then, and the Write that has not come back goes on after them.
type Capture struct {
	file *captureFile

	mu     sync.Mutex
	closed bool
	ends   int    // made-up ports so far
	first  uint32 // sequence number of the next flow
	flows  map[flowKey]*flow
	left   []*flow // those of flows without an owner, in the order in which they have lost it
	packet []byte
	timer  *time.Timer
	armed  bool // timer will run catchUp
}

// ErrCaptureClosed is the error of Flush after Close.
var ErrCaptureClosed = errors.New("the capture is closed")

// NewCapture begins a capture file. w stays the caller's, who closes it after Close. What is
// captured reaches w within a fraction of a second: what is read, when it has been read; what is
// written, when the write has ended, for only then is it known how much of it is out. The same is
// true of the end of the sending direction, where CloseWrite comes during a write.
func NewCapture(w io.Writer) *Capture {
	c := &Capture{file: newCaptureFile(w), flows: map[flowKey]*flow{}}
	c.write(pcap.FileHeader())
	return c
}

// write takes packets to be written to the file soon; c.mu is held, or c is not yet known to
// others.
func (c *Capture) write(b []byte) {
	if !c.closed {
		c.file.write(b)
	}
}

// Flush writes everything captured so far to the file, and waits for that. It does not wait for
// writes in progress, of which nothing is captured yet: see NewCapture.
func (c *Capture) Flush() error {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		for _, f := range c.flows {
			f.catchUp(time.Now())
		}
	}
	c.mu.Unlock()
	if closed {
		return ErrCaptureClosed
	}
	return c.file.flush()
}

// soon makes catchUp run, for what begins to wait in a flow now; c.mu is held.
func (c *Capture) soon() {
	switch {
	case c.armed:
		return
	case c.timer == nil:
		c.timer = time.AfterFunc(captureDelay, c.catchUp)
	default:
		c.timer.Reset(captureDelay)
	}
	c.armed = true
}

// catchUp writes what has waited in flows for captureDelay.
func (c *Capture) catchUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if c.closed {
		return
	}
	for _, f := range c.flows {
		if f.catchUp(time.Now().Add(-captureDelay)) {
			c.soon()
		}
	}
}

// Close writes the rest to the file, waits for that, and ends the capture; what connections do
// later is not captured. It returns the first error of the file. It is idempotent.
func (c *Capture) Close() error {
	c.mu.Lock()
	if !c.closed {
		for _, f := range c.flows {
			f.settle()
			f.spill(time.Now(), outward)
			f.spill(time.Now(), inward)
		}
		c.closed, c.flows, c.left = true, nil, nil
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	c.mu.Unlock()
	return c.file.stop()
}
