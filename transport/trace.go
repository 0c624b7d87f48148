package transport

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
)

// TraceOptions say where Trace shows what passes. Either field, or both, may be set.
type TraceOptions struct {
	// Log gets a record of level Debug for each read and write, and for the beginning and the end of each stream. nil: none. Its level
	// may be changed at any time. Its handler must not use the stream, nor wait for it.
	Log *slog.Logger
	// Bytes is how many of its first bytes a record shows, in hexadecimal. 0 means 32, less than 0 none.
	Bytes int
	// Capture is a file for Wireshark. Several transports and sockets may share one. nil: none.
	Capture *Capture
}

// Trace makes a Transport whose streams show what passes, over any other, and change nothing: a read is shown when it has come, a write
// with what the carrier below has taken. Put it below another wrapper to see what goes over the wire, above to see what the user of the
// stream sees; over a TLS transport it shows clear text. Nothing that a cookie or a key protects is protected from Trace.
//
// A hand-off passes through; where a stream was imported, its trace begins in the middle.
func Trace(tr Transport, o TraceOptions) Transport {
	t := newTrace(o)
	t.virtual = virtual{below: tr, wrap: t.over}
	return t
}

// TraceStream is [Trace] over a single stream, whatever it comes from: [UnixPair], [ConnectTCP], [AdoptStream], a [Listener]. It takes s
// over, see "Virtual sockets" in the package's doc. What s has read ahead is not shown. In the log each such stream is number 1: to tell
// several apart, give each a logger with attributes of its own. It does not wait: ErrBusy if an operation is outstanding on s, ErrPaused,
// net.ErrClosed or ENOTCONN if s is paused, closed or taken over already; then s stays as it is.
func TraceStream(s *Stream, o TraceOptions) (*Stream, error) { return s.over(newTrace(o).over) }

func newTrace(o TraceOptions) *trace {
	if o.Bytes == 0 {
		o.Bytes = 32
	}
	return &trace{o: o}
}

type trace struct {
	virtual
	o     TraceOptions
	conns atomic.Int64
}

// A traced is the carrier of Trace.
type traced struct {
	carrier
	t    *trace
	log  *slog.Logger // nil: none
	flow *flow        // nil: none
	ours netip.AddrPort
	in   int64        // bytes so far, the reader's
	out  atomic.Int64 // the writer's

	resets atomic.Bool // the close to come is a reset
	told   atomic.Bool // of the end
}

func (t *trace) over(s *Stream) carrier {
	c := &traced{carrier: s.car, t: t}
	local, remote := c.localAddr(), s.remote
	if remote == nil {
		remote = peerAddr(s.car)
	}
	if t.o.Log != nil {
		c.log = t.o.Log.With("conn", t.conns.Add(1))
		c.log.Debug(s.how.String(), "local", text(local), "remote", text(remote))
	}
	if t.o.Capture != nil {
		c.flow = t.o.Capture.open(c, local, remote, s.how)
	}
	return c
}

// first returns the first of the n bytes in v, in hexadecimal, for a record.
func (t *trace) first(v [][]byte, n int64) string {
	b := make([]byte, 0, 64)
	for _, p := range cut(nil, v, 0, min(n, int64(max(t.o.Bytes, 0)))) {
		b = append(b, p...)
	}
	return hex.EncodeToString(b)
}

func (c *traced) read(ctx context.Context, p []byte) (int, error) {
	n, err := c.carrier.read(ctx, p)
	if n > 0 {
		if shows(c.log) {
			c.log.Debug("received", "bytes", n, "offset", c.in, "data", c.t.first([][]byte{p}, int64(n)))
		}
		c.in += int64(n)
		c.flow.received(c, p[:n])
	}
	if err != nil {
		c.failed("read", err)
	}
	return n, err
}

func (c *traced) write(ctx context.Context, v [][]byte) (int64, error) {
	c.flow.sending(c)
	n, err := c.carrier.write(ctx, v)
	if n > 0 && shows(c.log) {
		c.log.Debug("sent", "bytes", n, "offset", c.out.Load(), "data", c.t.first(v, n))
	}
	c.out.Add(max(n, 0))
	c.flow.sent(c, v, n)
	if err != nil {
		c.failed("write", err)
	}
	return n, err
}

// isOver reports whether err only says that an operation's time is over.
func isOver(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// failed shows an error, unless it only says that an operation's time is over.
func (c *traced) failed(op string, err error) {
	switch {
	case isOver(err):
		return
	case err == io.EOF:
		c.flow.fin(c, inward)
		if c.log != nil {
			c.log.Debug("end of stream", "offset", c.in)
		}
		return
	case errors.Is(err, syscall.ECONNRESET):
		c.flow.reset(c, inward)
	}
	if c.log != nil {
		c.log.Debug(op+" failed", "error", err)
	}
}

func (c *traced) closeWrite() error {
	err := c.carrier.closeWrite()
	if err == nil {
		c.flow.fin(c, outward)
		if c.log != nil {
			c.log.Debug("closed for writing", "sent", c.out.Load())
		}
	}
	return err
}

func (c *traced) abortive() bool {
	c.resets.Store(c.carrier.abortive())
	return c.resets.Load()
}

// close may come twice: a carrier above may reset the connection before the stream is closed.
func (c *traced) close() error {
	err := c.carrier.close()
	end := "closed"
	if c.resets.Load() {
		end = "reset"
		c.flow.reset(c, outward)
	} else {
		c.flow.close(c)
	}
	if !c.told.Swap(true) && c.log != nil {
		c.log.Debug(end)
	}
	return err
}

func (c *traced) release() error {
	err := c.carrier.release()
	c.flow.release(c)
	if c.log != nil {
		c.log.Debug("released")
	}
	return err
}
