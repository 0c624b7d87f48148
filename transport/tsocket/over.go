package tsocket

import (
	"context"
	"errors"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// An End is what a virtual datagram socket does with the one below. Receive and Next, and Send,
// are each used by one caller at a time, with a buffer that is not empty.
type End interface {
	// Receive waits for a datagram, which may be empty. It puts n bytes of it into p, and returns
	// its size: UnknownSize if all that is known is that it is more than n.
	Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error)
	// Next waits for a datagram, which may be empty, and returns its size; Receive is to get it.
	Next(ctx context.Context) (size int, err error)
	Send(ctx context.Context, p []byte, to transport.Addr) error
	// Close ends the other calls, and closes the socket below; Release releases it.
	Close() error
	Release() error
}

// UnknownSize is the size of a datagram of which is known only that it was too long.
const UnknownSize = int(^uint(0) >> 1)

// Over makes a virtual datagram socket over another one, which belongs to it from then on: end
// uses the one below, and the Datagram keeps its usual rules. It has the addresses of the one
// below, is over when that is, and does not wait.
func Over(below Socket, end End) *Datagram {
	d := newDatagram(virtualEnd{end, below}, below.LocalAddr(), below.RemoteAddr())
	if b, ok := below.(interface{ Done() <-chan struct{} }); ok {
		d.below = b.Done()
	}
	return d
}

// A virtualEnd is an End as the carrier of a Datagram.
type virtualEnd struct {
	End
	below Socket
}

func (v virtualEnd) receive(ctx context.Context, _ *Datagram, p []byte) (int, int, transport.Addr, error) {
	return v.Receive(ctx, p)
}
func (v virtualEnd) next(ctx context.Context, _ *Datagram) (int, error) { return v.Next(ctx) }
func (v virtualEnd) send(ctx context.Context, _ *Datagram, p []byte, to transport.Addr) error {
	return v.Send(ctx, p, to)
}

func (v virtualEnd) syscallConn() (syscall.RawConn, error) {
	if s, ok := v.below.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (v virtualEnd) close(unlink bool) error {
	if unlink {
		return v.Close()
	}
	return v.Release()
}
