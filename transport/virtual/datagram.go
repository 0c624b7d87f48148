package virtual

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// A Datagram is a virtual socket over another datagram socket: TraceDatagram, LimitDatagram and
// FaultDatagram make it. It keeps the rules of [transport.Datagram]. It is over when the one below
// is.
type Datagram struct {
	end   datagramEnd
	below transport.DatagramSocket
	waits *pauser                  // for the waits of the virtual socket itself
	above atomic.Pointer[Datagram] // the virtual socket over this one

	receiving, sending atomic.Bool
	disconnected       atomic.Bool
	closed             atomic.Bool
	closeOnce          sync.Once
	closeErr           error
}

var _ transport.DatagramSocket = (*Datagram)(nil)

// A datagramEnd is what Trace, Limit or Fault makes of the socket below. receive or next, and send,
// are each used by one caller at a time.
type datagramEnd interface {
	// receive waits for a datagram. It puts n bytes of it into p, and returns its size: unknownSize
	// if all that is known is that it is more than n.
	receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error)
	// next waits for a datagram, which may be empty, and returns its size; receive is to get it.
	next(ctx context.Context) (size int, err error)
	send(ctx context.Context, p []byte, to transport.Addr) error
	close() error
	release() error
}

// unknownSize is the size of a datagram of which all that is known is that it was too long.
const unknownSize = int(^uint(0) >> 1)

// overDatagram makes a virtual Datagram, to which d belongs from now on: wrap makes an end, which
// may wait by itself, of one that uses d.
func overDatagram(
	d transport.DatagramSocket, wrap func(below datagramThrough, waits *pauser) datagramEnd,
) *Datagram {
	waits := newPauser()
	v := &Datagram{end: wrap(datagramThrough{d}, waits), below: d, waits: waits}
	switch below := d.(type) {
	case *Datagram:
		waits.below = below.waits.below
		below.above.Store(v)
		if below.ended() != nil {
			v.endWaits()
		}
	case interface{ Closed() <-chan struct{} }:
		waits.below = below.Closed()
	}
	return v
}

// LocalAddr is that of the socket below.
func (d *Datagram) LocalAddr() transport.Addr { return d.below.LocalAddr() }

// RemoteAddr is that of the socket below.
func (d *Datagram) RemoteAddr() transport.Addr { return d.below.RemoteAddr() }

// SyscallConn is that of the socket below; errors.ErrUnsupported where that has no such method.
func (d *Datagram) SyscallConn() (syscall.RawConn, error) {
	if s, ok := d.below.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// ended is nil while the socket may be used.
func (d *Datagram) ended() error {
	switch {
	case d.closed.Load():
		return net.ErrClosed
	case d.disconnected.Load():
		return syscall.ENOTCONN
	}
	return nil
}

// begin claims a direction.
func (d *Datagram) begin(direction *atomic.Bool) error {
	if err := d.ended(); err != nil {
		return err
	}
	if !direction.CompareAndSwap(false, true) {
		return transport.ErrBusy
	}
	return nil
}

// RecvFrom is that of [transport.Datagram].
func (d *Datagram) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if err := d.begin(&d.receiving); err != nil {
		return 0, nil, d.opError("receive", nil, err)
	}
	defer d.receiving.Store(false)
	if len(p) == 0 {
		return 0, nil, d.opError("receive", nil, errEmpty)
	}
	for {
		n, size, from, err := d.end.receive(ctx, p)
		switch {
		case err != nil:
			return 0, nil, d.opError("receive", nil, err)
		case size > len(p):
			if size == unknownSize {
				size = 0
			}
			err := &transport.TooLongError{Size: size, Room: len(p)}
			return n, from, d.opError("receive", nil, err)
		case n > 0:
			return n, from, nil
		}
		if err := ctx.Err(); err != nil { // an empty datagram
			return 0, nil, d.opError("receive", nil, err)
		}
	}
}

// NextLength is that of [transport.Datagram]; errors.ErrUnsupported where the socket below has no
// such method.
func (d *Datagram) NextLength(ctx context.Context) (int, error) {
	if err := d.begin(&d.receiving); err != nil {
		return 0, d.opError("next length", nil, err)
	}
	defer d.receiving.Store(false)
	for {
		size, err := d.end.next(ctx)
		if err == nil && size == 0 {
			_, _, _, err = d.end.receive(ctx, make([]byte, 1))
		}
		if err == nil && size == 0 {
			err = ctx.Err()
		}
		if err != nil || size > 0 {
			return size, d.opError("next length", nil, err)
		}
	}
}

// SendTo is that of [transport.Datagram].
func (d *Datagram) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if err := d.begin(&d.sending); err != nil {
		return 0, d.opError("send", to, err)
	}
	defer d.sending.Store(false)
	if len(p) == 0 {
		return 0, d.opError("send", to, errEmpty)
	}
	if to == nil && d.RemoteAddr() == nil {
		return 0, d.opError("send", nil, syscall.EDESTADDRREQ)
	}
	if err := d.end.send(ctx, p, to); err != nil {
		return 0, d.opError("send", to, err)
	}
	return len(p), nil
}

// errEmpty refuses a call whose buffer is of length zero.
var errEmpty = fmt.Errorf("no buffer with a byte: %w", syscall.EINVAL)

// opError names the address that an operation was for, or else the peer's, or else the socket's
// own.
func (d *Datagram) opError(op string, to transport.Addr, err error) error {
	if err == nil {
		return nil
	}
	if to == nil {
		to = d.RemoteAddr()
	}
	if to == nil {
		to = d.LocalAddr()
	}
	return &transport.OpError{Op: op, Addr: to, Err: err}
}

// Disconnect closes the socket in good order; ErrBusy while an operation is outstanding, and later
// use is ENOTCONN.
func (d *Datagram) Disconnect() error {
	if err := d.begin(&d.receiving); err != nil {
		return d.opError("disconnect", nil, err)
	}
	defer d.receiving.Store(false)
	if err := d.begin(&d.sending); err != nil {
		return d.opError("disconnect", nil, err)
	}
	defer d.sending.Store(false)
	d.disconnected.Store(true)
	return d.finish(d.end.close)
}

// Close ends every operation at once with net.ErrClosed, and closes the socket below. It is
// idempotent.
func (d *Datagram) Close() error {
	d.closed.Store(true)
	return d.finish(d.end.close)
}

// Release is Close, except that it releases the socket below, if that has such a method.
func (d *Datagram) Release() error {
	d.closed.Store(true)
	return d.finish(d.end.release)
}

func (d *Datagram) finish(last func() error) error {
	d.closeOnce.Do(func() {
		d.endWaits()
		d.closeErr = d.opError("close", nil, last())
	})
	return d.closeErr
}

// endWaits ends the waits that this socket, and those above it, make by themselves.
func (d *Datagram) endWaits() {
	for ; d != nil; d = d.above.Load() {
		d.waits.end()
	}
}

// A datagramThrough is an end that does nothing but use the socket below.
type datagramThrough struct{ below transport.DatagramSocket }

func (t datagramThrough) receive(ctx context.Context, p []byte) (
	n, size int, from transport.Addr, err error,
) {
	n, from, err = t.below.RecvFrom(ctx, p)
	if errors.Is(err, io.ErrShortBuffer) {
		var long *transport.TooLongError
		if size = unknownSize; errors.As(err, &long) && long.Size > 0 {
			size = long.Size
		}
		return n, size, from, nil
	}
	return n, n, from, bare(err)
}

func (t datagramThrough) next(ctx context.Context) (int, error) {
	s, ok := t.below.(interface {
		NextLength(context.Context) (int, error)
	})
	if !ok {
		return 0, fmt.Errorf("the socket below has no NextLength: %w", errors.ErrUnsupported)
	}
	n, err := s.NextLength(ctx)
	return n, bare(err)
}

func (t datagramThrough) send(ctx context.Context, p []byte, to transport.Addr) error {
	_, err := t.below.SendTo(ctx, p, to)
	return bare(err)
}

func (t datagramThrough) close() error { return bare(t.below.Close()) }

func (t datagramThrough) release() error {
	if s, ok := t.below.(interface{ Release() error }); ok {
		return bare(s.Release())
	}
	return bare(t.below.Close())
}
