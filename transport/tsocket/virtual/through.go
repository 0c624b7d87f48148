package virtual

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pace"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// over makes a virtual Datagram, to which d belongs from now on: wrap makes an end of one
// that only uses d.
func over(d tsocket.Socket, wrap func(below through) tsocket.End) *tsocket.Datagram {
	waits := pace.NewPauser()
	if below, ok := d.(interface{ Done() <-chan struct{} }); ok {
		waits.Below = below.Done()
	}
	return tsocket.Over(d, wrap(through{d, waits}))
}

// A through is an end that does nothing but use the socket below.
type through struct {
	below tsocket.Socket
	waits *pace.Pauser // for the waits of the virtual socket itself
}

func (t through) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
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

func (t through) Next(ctx context.Context) (int, error) {
	s, ok := t.below.(interface {
		NextLength(context.Context) (int, error)
	})
	if !ok {
		return 0, fmt.Errorf("the socket below has no NextLength: %w", errors.ErrUnsupported)
	}
	n, err := s.NextLength(ctx)
	return n, bare(err)
}

func (t through) Send(ctx context.Context, p []byte, to transport.Addr) error {
	_, err := t.below.SendTo(ctx, p, to)
	return bare(err)
}

func (t through) Close() error {
	t.waits.End()
	return bare(t.below.Close())
}

func (t through) Release() error {
	t.waits.End()
	if s, ok := t.below.(interface{ Release() error }); ok {
		return bare(s.Release())
	}
	return bare(t.below.Close())
}

// bare returns an error without its operation and address, to which the virtual socket adds its
// own.
func bare(err error) error {
	if e, ok := err.(*transport.OpError); ok {
		return e.Err
	}
	return err
}

// text is an address for a record of a log.
func text(a transport.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
