package virtual

import (
	"context"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// TraceDatagram is [Trace] over a datagram socket, which is the virtual one's from now on: closing
// the virtual one closes it. A datagram is shown when it has come, or when the socket below has
// taken it. In the log "cut" is true where the receiver's buffer was too short for all of it. To
// tell several sockets apart, give each a logger with attributes of its own.
func TraceDatagram(d tsocket.Socket, o TraceOptions) *tsocket.Datagram {
	t := newTrace(o)
	return overDatagram(d, func(below datagramThrough) tsocket.End {
		c := &tracedDatagram{datagramThrough: below, t: t, log: t.o.Log}
		if c.log != nil {
			c.log.Debug("opened", "local", text(d.LocalAddr()), "remote", text(d.RemoteAddr()))
		}
		return c
	})
}

// A tracedDatagram is an end of TraceDatagram.
type tracedDatagram struct {
	datagramThrough
	t   *trace
	log *slog.Logger // nil: none
}

func (c *tracedDatagram) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	n, size, from, err = c.datagramThrough.Receive(ctx, p)
	switch {
	case err != nil:
		c.failed("receive", err)
	case n > 0:
		if shows(c.log) {
			c.log.Debug("received", "bytes", n, "from", text(from), "cut", size > n, "data", c.t.first([][]byte{p}, int64(n)))
		}
		c.t.o.Capture.datagram(time.Now(), from, c.below.LocalAddr(), p[:n])
	}
	return n, size, from, err
}

func (c *tracedDatagram) Send(ctx context.Context, p []byte, to transport.Addr) error {
	at := time.Now()
	err := c.datagramThrough.Send(ctx, p, to)
	if err != nil {
		c.failed("send", err)
		return err
	}
	if to == nil {
		to = c.below.RemoteAddr()
	}
	if shows(c.log) {
		c.log.Debug("sent", "bytes", len(p), "to", text(to), "data", c.t.first([][]byte{p}, int64(len(p))))
	}
	c.t.o.Capture.datagram(at, c.below.LocalAddr(), to, p)
	return nil
}

// failed shows an error, unless it only says that an operation's time is over.
func (c *tracedDatagram) failed(op string, err error) {
	if c.log != nil && !isOver(err) {
		c.log.Debug(op+" failed", "error", err)
	}
}

func (c *tracedDatagram) Close() error {
	err := c.datagramThrough.Close()
	if c.log != nil {
		c.log.Debug("closed")
	}
	return err
}

func (c *tracedDatagram) Release() error {
	err := c.datagramThrough.Release()
	if c.log != nil {
		c.log.Debug("released")
	}
	return err
}
