package virtual

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// TraceOptions say where Trace shows what passes. Either field, or both, may be set.
type TraceOptions struct {
	// Log gets a record of level Debug for each read and write, and for the beginning and the end
	// of each stream. nil: none. Its level may be changed at any time. Its handler must not use the
	// stream, nor wait for it.
	Log *slog.Logger
	// Bytes is how many of its first bytes a record shows, in hexadecimal. 0 means 32, less than 0
	// none.
	Bytes int
	// Capture is a file for Wireshark. Several transports and sockets may share one. nil: none.
	Capture *Capture
}

// Trace makes a Transport whose streams show what passes, over any other, and change nothing: a
// read is shown when it has come, a write with what the carrier below has taken. Put it below
// another wrapper to see what goes over the wire, above to see what the user of the stream sees;
// over a TLS transport it shows clear text. Nothing that a cookie or a key protects is protected
// from Trace.
//
// A hand-off passes through; where a stream was imported, its trace begins in the middle.
func Trace(tr transport.Transport, o TraceOptions) transport.Transport {
	return newWrapper(tr, newTrace(o).wrapper())
}

// TraceStream is [Trace] over a single stream, whatever it comes from: [transport.UnixPair],
// [transport.ConnectTCP], [transport.AdoptStream], a [transport.Listener]. It takes s over, see the
// package's doc. What s has read ahead is not shown. In the log each such stream is number 1: to
// tell several apart, give each a logger with attributes of its own. It does not wait: ErrBusy if
// an operation is outstanding on s, ErrPaused, net.ErrClosed or ENOTCONN if s is paused, closed or
// taken over already; then s stays as it is.
func TraceStream(s *transport.Stream, o TraceOptions) (*transport.Stream, error) {
	w := newTrace(o).wrapper()
	return w.over(s, w.wrap)
}

func newTrace(o TraceOptions) *trace {
	if o.Bytes == 0 {
		o.Bytes = 32
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &trace{o: o}
}

type trace struct {
	o     TraceOptions
	conns atomic.Int64
}

func (t *trace) wrapper() wrapper { return wrapper{wrap: t.over} }

// A traced is an end of Trace.
type traced struct {
	through
	t    *trace
	log  *slog.Logger
	flow *flow        // nil: none
	in   int64        // bytes so far, the reader's
	out  atomic.Int64 // the writer's
}

func (t *trace) over(below *transport.Stream) end {
	c := &traced{through: through{below}, t: t, log: t.o.Log.With("conn", t.conns.Add(1))}
	local, remote, how := below.LocalAddr(), below.RemoteAddr(), below.Origin()
	c.log.Debug(how, "local", text(local), "remote", text(remote))
	if t.o.Capture != nil {
		c.flow = t.o.Capture.open(c, local, remote, how)
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
	n, err := c.through.read(ctx, p)
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
	c.flow.sending(c, v)
	n, err := c.through.write(ctx, v)
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
		c.log.Debug("end of stream", "offset", c.in)
		return
	case errors.Is(err, syscall.ECONNRESET):
		c.flow.reset(c, inward)
	}
	c.log.Debug(op+" failed", "error", err)
}

func (c *traced) closeWrite() error {
	err := c.through.closeWrite()
	if err == nil {
		c.flow.fin(c, outward)
		c.log.Debug("closed for writing", "sent", c.out.Load())
	}
	return err
}

func (c *traced) close() error {
	err := c.through.close()
	c.flow.close(c)
	c.log.Debug("closed")
	return err
}

func (c *traced) abort() error {
	err := c.through.abort()
	if errors.Is(err, errors.ErrUnsupported) { // it has been closed
		c.flow.close(c)
		c.log.Debug("closed")
	} else {
		c.flow.reset(c, outward)
		c.log.Debug("reset")
	}
	return err
}

func (c *traced) release() error {
	err := c.through.release()
	c.flow.release(c)
	c.log.Debug("released")
	return err
}
