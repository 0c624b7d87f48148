package hush

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Named is a logger whose lines have the attribute node. A dynamic node, which has no name yet,
// has it from the moment on in which it is given one.
func Named(log *slog.Logger, name string, given *atomic.Pointer[string]) *slog.Logger {
	if name != "" {
		return log.With(NodeKey, name)
	}
	return slog.New(naming{log.Handler(), given})
}

// NodeKey is the attribute that the lines of a node's log have.
const NodeKey = "node"

// naming adds the name that a node has got by now. It asks no lock for it: the node may log with
// its locks held.
type naming struct {
	slog.Handler
	name *atomic.Pointer[string]
}

func (h naming) Handle(ctx context.Context, r slog.Record) error {
	if name := h.name.Load(); name != nil {
		r = r.Clone()
		r.AddAttrs(slog.String(NodeKey, *name))
	}
	return h.Handler.Handle(ctx, r)
}

func (h naming) WithAttrs(attrs []slog.Attr) slog.Handler {
	return naming{h.Handler.WithAttrs(attrs), h.name}
}

// WithGroup puts what follows into a group, the name too, if there is none yet.
func (h naming) WithGroup(group string) slog.Handler {
	if name := h.name.Load(); name != nil {
		return h.Handler.WithAttrs([]slog.Attr{slog.String(NodeKey, *name)}).WithGroup(group)
	}
	return naming{h.Handler.WithGroup(group), h.name}
}
