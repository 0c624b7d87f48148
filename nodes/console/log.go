package console

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Log passes records on to another handler, and shows them to sessions that trace, whose level is
// their own. It also keeps the last warnings. While nobody traces, a record that the other handler
// does not want costs nothing.
//
//	log := console.NewLog(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
//	n, err := nodes.New(nodes.Config{Logger: slog.New(log)})
//	err = console.Start(n, &console.Options{Log: log, Level: level})
type Log struct {
	next slog.Handler
	with []func(slog.Handler) slog.Handler // what WithAttrs and WithGroup have added
	to   *watches
}

const (
	mostWarnings = 20
	watchLines   = 1000 // wait for a terminal
)

// watches are who sees the records.
type watches struct {
	any atomic.Bool // there is one

	mu       sync.Mutex
	all      map[*watch]bool
	warnings []string // the last ones
}

// A watch is a session that traces.
type watch struct {
	lines   chan string
	dropped atomic.Int64
}

// NewLog makes a Log in front of a handler.
func NewLog(next slog.Handler) *Log {
	return &Log{next: next, to: &watches{all: map[*watch]bool{}}}
}

// Enabled tells whether the other handler wants records of the level, or somebody traces.
func (l *Log) Enabled(ctx context.Context, level slog.Level) bool {
	return l.to.any.Load() && level >= slog.LevelDebug || level >= slog.LevelWarn || l.next.Enabled(ctx, level)
}

// Handle passes a record on.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	if l.to.any.Load() || r.Level >= slog.LevelWarn {
		l.to.show(l.text(ctx, r), r.Level)
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs is a Log whose records have these attributes.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.adding(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup is a Log whose records are in a group.
func (l *Log) WithGroup(name string) slog.Handler {
	return l.adding(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (l *Log) adding(f func(slog.Handler) slog.Handler) *Log {
	return &Log{next: f(l.next), with: append(l.with[:len(l.with):len(l.with)], f), to: l.to}
}

// text is a record as a line.
func (l *Log) text(ctx context.Context, r slog.Record) string {
	var b bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{} // they are in front
			}
			return a
		}})
	for _, f := range l.with {
		h = f(h)
	}
	_ = h.Handle(ctx, r)
	return strings.TrimSpace(fmt.Sprintf("%s %v %s %s", r.Time.Format(time.TimeOnly), r.Level, r.Message, b.Bytes()))
}

func (w *watches) show(line string, level slog.Level) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if level >= slog.LevelWarn {
		w.warnings = append(w.warnings[max(0, len(w.warnings)-mostWarnings+1):], line)
	}
	for watch := range w.all {
		select {
		case watch.lines <- line:
		default: // the terminal is slower; nobody waits for it
			watch.dropped.Add(1)
		}
	}
}

// begin adds a watch, and returns what ends it.
func (w *watches) begin() *watch {
	watch := &watch{lines: make(chan string, watchLines)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[watch] = true
	w.any.Store(true)
	return watch
}

func (w *watches) end(watch *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[watch] {
		delete(w.all, watch)
		w.any.Store(len(w.all) > 0)
		close(watch.lines)
	}
}

func (w *watches) last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.warnings[:len(w.warnings):len(w.warnings)]
}
