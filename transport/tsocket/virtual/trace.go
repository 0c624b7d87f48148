package virtual

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// TraceOptions say where Trace shows what passes. Either field, or both, may be set.
type TraceOptions struct {
	// Log gets a record of level Debug for each datagram, and for the beginning and the end of the
	// socket. nil: none. Its level may be changed at any time. Its handler must not use the socket,
	// nor wait for it.
	Log *slog.Logger
	// Bytes is how many of its first bytes a record shows, in hexadecimal. 0 means 32, less than 0
	// none.
	Bytes int
	// Capture is a file for Wireshark. Several sockets may share one. nil: none.
	Capture *Capture
}

// Trace makes a socket that shows what passes and changes nothing over d, which is the new one's
// from now on: closing the new one closes it. A datagram is shown when it has come, or when the
// socket below has taken it. In the log "cut" is true where the receiver's buffer was too short for
// all of it. To tell several sockets apart, give each a logger with attributes of its own.
func Trace(d tsocket.Socket, o TraceOptions) *tsocket.Datagram {
	if o.Bytes == 0 {
		o.Bytes = 32
	}
	return over(d, func(below through) tsocket.End {
		c := &traced{below, o}
		c.show("opened", "local", text(d.LocalAddr()), "remote", text(d.RemoteAddr()))
		return c
	})
}

// A traced is an end of Trace.
type traced struct {
	through
	o TraceOptions
}

func (c *traced) show(what string, attrs ...any) {
	if c.o.Log != nil {
		c.o.Log.Debug(what, attrs...)
	}
}

// first returns the first bytes of p, in hexadecimal, for a record.
func (c *traced) first(p []byte) string {
	return hex.EncodeToString(p[:min(len(p), max(c.o.Bytes, 0))])
}

func (c *traced) shows() bool {
	return c.o.Log != nil && c.o.Log.Enabled(context.Background(), slog.LevelDebug)
}

func (c *traced) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	n, size, from, err = c.through.Receive(ctx, p)
	switch {
	case err != nil:
		c.failed("receive", err)
	case n > 0:
		if c.shows() {
			c.show("received", "bytes", n, "from", text(from), "cut", size > n, "data", c.first(p[:n]))
		}
		c.o.Capture.datagram(time.Now(), from, c.below.LocalAddr(), p[:n])
	}
	return n, size, from, err
}

func (c *traced) Send(ctx context.Context, p []byte, to transport.Addr) error {
	at := time.Now()
	if err := c.through.Send(ctx, p, to); err != nil {
		c.failed("send", err)
		return err
	}
	if to == nil {
		to = c.below.RemoteAddr()
	}
	if c.shows() {
		c.show("sent", "bytes", len(p), "to", text(to), "data", c.first(p))
	}
	c.o.Capture.datagram(at, c.below.LocalAddr(), to, p)
	return nil
}

// failed shows an error, unless it only says that an operation's time is over.
func (c *traced) failed(op string, err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		c.show(op+" failed", "error", err)
	}
}

func (c *traced) Close() error {
	err := c.through.Close()
	c.show("closed")
	return err
}

func (c *traced) Release() error {
	err := c.through.Release()
	c.show("released")
	return err
}
