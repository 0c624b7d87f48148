package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A wrapper is the part that Trace, Limit and Fault share: a Transport over another one.
type wrapper struct {
	below transport.Transport
	fixed error // why its streams cannot be handed off; nil: they can, if those below can
	wrap  func(below *transport.Stream) end

	plug transport.Transport // what its listeners are made by
}

// patient is what a Transport of package transport has for tests.
type patient interface {
	Patience() time.Duration
	WithPatience(limit time.Duration) transport.Transport
}

// newWrapper completes w.
func newWrapper(below transport.Transport, w wrapper) *wrapper {
	w.below = below
	w.plug, _ = transport.New(w.callbacks(), nil) // no mandatory field is missing
	if p, ok := below.(patient); ok {
		w.plug = w.plug.(patient).WithPatience(p.Patience())
	}
	return &w
}

// Listen is that of the Transport below.
func (w *wrapper) Listen(addr transport.Addr, backlog int) (*transport.Listener, error) {
	return w.plug.Listen(addr, backlog)
}

// Connect is that of the Transport below.
func (w *wrapper) Connect(ctx context.Context, addr transport.Addr) (*transport.Stream, error) {
	s, err := w.below.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return w.over(s, w.wrap)
}

// Name is that of the Transport below: a hand-off does not know of a wrapper.
func (w *wrapper) Name() string { return w.below.Name() }

// Movable is that of the Transport below, unless a hand-off is refused.
func (w *wrapper) Movable() bool { return w.fixed == nil && w.below.Movable() }

// Import is that of the Transport below.
func (w *wrapper) Import(fd int, state []byte) (*transport.Stream, error) {
	if w.fixed != nil {
		return nil, &transport.OpError{Op: "import", Err: w.fixed}
	}
	s, err := w.below.Import(fd, state)
	if err != nil {
		return nil, err
	}
	return w.over(s, w.wrap)
}

// ImportListener is that of the Transport below.
func (w *wrapper) ImportListener(fd int) (*transport.Listener, error) {
	if w.fixed != nil {
		return nil, &transport.OpError{Op: "import", Err: w.fixed}
	}
	if !w.below.Movable() {
		return w.below.ImportListener(fd) // an error that says so
	}
	return w.plug.ImportListener(fd)
}

// WithPolling is the same wrapper with another limit of polling below: see transport.WithPolling.
func (w *wrapper) WithPolling(limit time.Duration) transport.Transport {
	return newWrapper(transport.WithPolling(w.below, limit), *w)
}

// notMovable is why a wrapper refuses a hand-off.
func notMovable(name, why string) error {
	return fmt.Errorf("%s cannot be handed off: %s: %w", name, why, errors.ErrUnsupported)
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

func length(v [][]byte) int64 {
	var n int64
	for _, b := range v {
		n += int64(len(b))
	}
	return n
}

// wasLost reports whether a callback was left behind, which may still use what it was given.
func wasLost(err error) bool { return errors.Is(err, transport.ErrUnresponsive) }

// shows reports whether log takes records now: a program may change its level at any time.
func shows(log *slog.Logger) bool {
	return log != nil && log.Enabled(context.Background(), slog.LevelDebug)
}

// text is an address for a record of a log.
func text(a transport.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
