package virtual

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// overDatagram makes a virtual Datagram, to which d belongs from now on: wrap makes an end of one
// that only uses d.
func overDatagram(d tsocket.Socket, wrap func(below datagramThrough) tsocket.End) *tsocket.Datagram {
	waits := newPauser()
	if below, ok := d.(interface{ Done() <-chan struct{} }); ok {
		waits.below = below.Done()
	}
	return tsocket.Over(d, wrap(datagramThrough{d, waits}))
}

// A datagramThrough is an end that does nothing but use the socket below.
type datagramThrough struct {
	below tsocket.Socket
	waits *pauser // for the waits of the virtual socket itself
}

func (t datagramThrough) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	n, from, err = t.below.RecvFrom(ctx, p)
	if errors.Is(err, io.ErrShortBuffer) {
		var long *tsocket.TooLongError
		if size = tsocket.UnknownSize; errors.As(err, &long) && long.Size > 0 {
			size = long.Size
		}
		return n, size, from, nil
	}
	return n, n, from, bare(err)
}

func (t datagramThrough) Next(ctx context.Context) (int, error) {
	s, ok := t.below.(interface {
		NextLength(context.Context) (int, error)
	})
	if !ok {
		return 0, fmt.Errorf("the socket below has no NextLength: %w", errors.ErrUnsupported)
	}
	n, err := s.NextLength(ctx)
	return n, bare(err)
}

func (t datagramThrough) Send(ctx context.Context, p []byte, to transport.Addr) error {
	_, err := t.below.SendTo(ctx, p, to)
	return bare(err)
}

func (t datagramThrough) Close() error {
	t.waits.end()
	return bare(t.below.Close())
}

func (t datagramThrough) Release() error {
	t.waits.end()
	if s, ok := t.below.(interface{ Release() error }); ok {
		return bare(s.Release())
	}
	return bare(t.below.Close())
}
