package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// overDatagram makes a virtual Datagram: wrap puts a carrier, which may wait by itself, in front of one that uses d. From now on d belongs
// to the virtual Datagram.
func overDatagram(d DatagramSocket, wrap func(below datagramCarrier, waits *pauser) datagramCarrier) *Datagram {
	waits := newPauser()
	v := newDatagram(wrap(datagramBelow{d}, waits), d.LocalAddr(), d.RemoteAddr())
	v.waits = waits
	if below, ok := d.(*Datagram); ok {
		below.above.Store(v)
		if below.usable() != nil {
			v.endWaits()
		}
	}
	return v
}

// A datagramBelow is the carrier of a virtual Datagram that does nothing but use the socket below.
type datagramBelow struct{ s DatagramSocket }

func (b datagramBelow) receive(ctx context.Context, _ *Datagram, p []byte) (n, size int, from Addr, err error) {
	n, from, err = b.s.RecvFrom(ctx, p)
	if errors.Is(err, io.ErrShortBuffer) {
		var long *TooLongError
		if size = unknownSize; errors.As(err, &long) && long.Size > 0 {
			size = long.Size
		}
		return n, size, from, nil
	}
	return n, n, from, bare(err)
}

func (b datagramBelow) next(ctx context.Context, _ *Datagram) (int, error) {
	s, ok := b.s.(interface {
		NextLength(context.Context) (int, error)
	})
	if !ok {
		return 0, fmt.Errorf("the socket below has no NextLength: %w", errors.ErrUnsupported)
	}
	n, err := s.NextLength(ctx)
	return n, bare(err)
}

func (b datagramBelow) send(ctx context.Context, _ *Datagram, p []byte, to Addr) error {
	_, err := b.s.SendTo(ctx, p, to)
	return bare(err)
}

// bare returns an error without its operation and address, to which the virtual socket adds its own.
func bare(err error) error {
	if e, ok := err.(*OpError); ok {
		return e.Err
	}
	return err
}

func (b datagramBelow) syscallConn() (syscall.RawConn, error) {
	if s, ok := b.s.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (b datagramBelow) close(unlink bool) error {
	if s, ok := b.s.(interface{ Release() error }); ok && !unlink {
		return bare(s.Release())
	}
	return bare(b.s.Close())
}
