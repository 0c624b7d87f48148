package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Trace, Limit and Fault are virtual sockets (see the tsocket guide, "Virtual Sockets"): each puts a carrier of its own in front of that of
// every Stream which the Transport below opens, accepts or imports; TraceStream and its kin do so for one Stream. Calls that a carrier does
// not handle go to the one below.

// A virtual is the part that all of them share: a Transport over another one.
type virtual struct {
	below Transport
	fixed error // why its streams cannot be handed off; nil: they can, if those below can
	wrap  func(s *Stream) carrier
}

// over gives a Stream that nobody has used yet its virtual carrier.
func (v *virtual) over(s *Stream) *Stream {
	s.car = v.wrap(s)
	return s
}

func (v *virtual) Listen(addr Addr, backlog int) (*Listener, error) {
	l, err := v.below.Listen(addr, backlog)
	if err != nil {
		return nil, err
	}
	l.sock = virtualAcceptor{l.sock, v}
	return l, nil
}

func (v *virtual) Connect(ctx context.Context, addr Addr) (*Stream, error) {
	s, err := v.below.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return v.over(s), nil
}

func (v *virtual) Name() string { return v.below.Name() }

func (v *virtual) Movable() bool { return v.fixed == nil && v.below.Movable() }

func (v *virtual) Import(fd int, state []byte) (*Stream, error) {
	if v.fixed != nil {
		return nil, opError("import", nil, v.fixed)
	}
	s, err := v.below.Import(fd, state)
	if err != nil {
		return nil, err
	}
	return v.over(s), nil
}

func (v *virtual) ImportListener(fd int) (*Listener, error) {
	if v.fixed != nil {
		return nil, opError("import", nil, v.fixed)
	}
	l, err := v.below.ImportListener(fd)
	if err != nil {
		return nil, err
	}
	l.sock = virtualAcceptor{l.sock, v}
	return l, nil
}

// withPolling is for wrappers that need no more than a copy with another Transport below.
func (v *virtual) withPolling(limit time.Duration) Transport {
	w := *v
	w.below = WithPolling(v.below, limit)
	return &w
}

func (f *fault) withPolling(limit time.Duration) Transport {
	return Fault(WithPolling(f.below, limit), f.o)
}

// notMovable is why a wrapper refuses a hand-off.
func notMovable(name, why string) error {
	return fmt.Errorf("%s cannot be handed off: %s: %w", name, why, errors.ErrUnsupported)
}

// A virtualAcceptor gives what is accepted its virtual carrier.
type virtualAcceptor struct {
	acceptor
	v *virtual
}

func (a virtualAcceptor) acceptStream(ctx context.Context) (*Stream, error) {
	s, err := a.acceptor.acceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return a.v.over(s), nil
}

// A pausing is the common part of carriers that may make each direction wait before it goes on below.
type pausing struct {
	carrier
	inward, outward *pauser
}

func newPausing(below carrier) pausing { return pausing{below, newPauser(), newPauser()} }

func (c *pausing) halt(writing bool) {
	if writing {
		c.outward.halt()
	} else {
		c.inward.halt()
	}
	c.carrier.halt(writing)
}

// closeWrite lets a write that waits here go on: the carrier below says what a write after CloseWrite gives.
func (c *pausing) closeWrite() error {
	err := c.carrier.closeWrite()
	if err == nil {
		c.outward.lift()
	}
	return err
}

// end ends all waiting, for good.
func (c *pausing) end() {
	c.inward.end()
	c.outward.end()
}

func (c *pausing) close() error {
	c.end()
	return c.carrier.close()
}

func (c *pausing) release() error {
	c.end()
	return c.carrier.release()
}

// cut appends n bytes of v to dst, those after the first skip.
func cut(dst, v [][]byte, skip, n int64) [][]byte {
	for _, b := range v {
		if n == 0 {
			break
		}
		k := min(skip, int64(len(b)))
		skip -= k
		b = b[k:]
		b = b[:min(n, int64(len(b)))]
		n -= int64(len(b))
		if len(b) > 0 {
			dst = append(dst, b)
		}
	}
	return dst
}

// shows reports whether log takes records now: a program may change its level at any time.
func shows(log *slog.Logger) bool {
	return log != nil && log.Enabled(context.Background(), slog.LevelDebug)
}
