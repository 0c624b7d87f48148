package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
)

// warnings prints the warnings that the log does not take, until over is set; those that are known
// are left out until then. Everything else goes to the log alone.
type warnings struct {
	slog.Handler // the log's
	out          io.Writer
	known        bool
	over         atomic.Bool
}

func (w *warnings) prints(level slog.Level) bool {
	return level >= slog.LevelWarn && !w.over.Load()
}

// Enabled implements slog.Handler.
func (w *warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return w.prints(level) || w.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (w *warnings) Handle(ctx context.Context, r slog.Record) error {
	if w.known && w.prints(r.Level) {
		return nil
	}
	if w.Handler.Enabled(ctx, r.Level) || !w.prints(r.Level) {
		return w.Handler.Handle(ctx, r)
	}
	line := "warning: " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf("; %s %s", a.Key, a.Value)
		return true
	})
	_, err := fmt.Fprintln(w.out, line)
	return err
}
