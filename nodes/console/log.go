package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/introspect"
	"github.com/cnode-go/cnode/transport"
)

// A Log is a handler in front of the program's own: sessions that trace see its records, of any
// level, and it keeps the last warnings. A record that nobody wants costs nothing.
//
//	level := new(slog.LevelVar)
//	log := console.NewLog(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
//	n, err := nodes.New(nodes.Config{Logger: slog.New(log)})
//	err = console.Serve(n, &console.Options{Log: log, Level: level})
type Log struct {
	next slog.Handler
	with []func(slog.Handler) slog.Handler // what WithAttrs and WithGroup have added
	seen *viewers
}

const (
	mostWarnings = 20
	mostLines    = 1000 // wait for a terminal
)

// viewers are the sessions that trace.
type viewers struct {
	some atomic.Bool // there are some

	mu       sync.Mutex
	all      map[*viewer]bool
	warnings []string // the last ones
}

// A viewer is a session that traces.
type viewer struct {
	lines   chan string
	dropped atomic.Int64
	servers []ei.Pid // whose messages the log has
}

// NewLog makes a Log in front of a handler.
func NewLog(next slog.Handler) *Log { return &Log{next: next, seen: &viewers{all: map[*viewer]bool{}}} }

// Enabled tells whether somebody wants records of the level.
func (l *Log) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || l.seen.some.Load() || l.next.Enabled(ctx, level)
}

// Handle passes a record on.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn || l.seen.some.Load() {
		l.seen.show(l.text(ctx, r), r.Level)
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
	return &Log{next: f(l.next), with: append(l.with[:len(l.with):len(l.with)], f), seen: l.seen}
}

// text is a record as a line.
func (l *Log) text(ctx context.Context, r slog.Record) string {
	var b bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&b, &slog.HandlerOptions{Level: r.Level})
	for _, f := range l.with {
		h = f(h)
	}
	_ = h.Handle(ctx, r)
	return b.String()
}

func (w *viewers) change(f func(all map[*viewer]bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.all)
	w.some.Store(len(w.all) > 0)
}

func (w *viewers) show(line string, level slog.Level) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if level >= slog.LevelWarn {
		w.warnings = append(w.warnings[max(0, len(w.warnings)-mostWarnings+1):], line)
	}
	for v := range w.all {
		select {
		case v.lines <- line:
		default: // the terminal is slower; nobody waits for it
			v.dropped.Add(1)
		}
	}
}

// trace shows the log on the user's screen, and has servers log their messages.
func (c *console) trace(ctx context.Context, what ei.Term) (Text, error) {
	s, servers := of(ctx), []ei.Pid(nil)
	switch what {
	case ei.Atom("off"):
		s.traceOff()
		return "off\n", nil
	case ei.Atom("on"):
	default:
		pid, err := c.pidOf(what)
		if d, _ := c.n.Process(pid); err == nil && d.Kind != introspect.KindServer {
			err = errors.New("it is no server, or has ended")
		}
		if err == nil {
			err = s.traceServer(pid, true)
		}
		if err != nil {
			return "", err
		}
		servers = append(servers, pid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traces == nil {
		s.traces = &viewer{lines: make(chan string, mostLines)}
		c.opts.Log.seen.change(func(all map[*viewer]bool) { all[s.traces] = true })
		go s.showLines(s.traces)
	}
	s.traces.servers = append(s.traces.servers, servers...)
	return "on\n", nil
}

// showLines prints what a viewer gets, several lines at a time.
func (s *session) showLines(v *viewer) {
	for line := range v.lines {
		for len(v.lines) > 0 && len(line) < 16<<10 {
			line += <-v.lines
		}
		if n := v.dropped.Swap(0); n > 0 {
			line += fmt.Sprintf("%d lines were left out\n", n)
		}
		s.print(line)
	}
}

// traceOff ends all that the session traces.
func (s *session) traceOff() {
	s.mu.Lock()
	v := s.traces
	s.traces = nil
	s.mu.Unlock()
	if v != nil {
		s.c.opts.Log.seen.change(func(all map[*viewer]bool) { delete(all, v) })
		close(v.lines)
		for _, pid := range v.servers {
			_ = s.traceServer(pid, false) // an error: it has ended
		}
	}
}

// traceServer is sys:trace/2. The session's process gets the answer, and drops it.
func (s *session) traceServer(pid ei.Pid, on bool) error {
	ref, err := s.c.n.NewRef()
	if err != nil {
		return err
	}
	return s.self.Send(transport.NoWait(), pid, ei.T("system", ei.Tuple{s.self.Pid(), ref}, ei.T("debug", ei.T("trace", on))))
}
