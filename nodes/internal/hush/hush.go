// Package hush bounds how much strangers and peers can make a program log.
package hush

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// PerSecond is how many messages a second a Hush logs at their own level.
const PerSecond = 20

// A Hush bounds the rate of log messages that others can provoke any number of times: messages over
// the limit are logged at the level Debug. The zero value is ready.
type Hush struct {
	mu    sync.Mutex
	since time.Time
	count int // since then
}

// Log logs a message at a level, or at Debug if the limit is reached.
func (h *Hush) Log(l *slog.Logger, level slog.Level, text string, args ...any) {
	if h.isOver(time.Now()) {
		level = slog.LevelDebug
	}
	l.Log(context.Background(), level, text, args...)
}

// An Each bounds the rate for each of many things, of which there may be any number: of the
// messages about one of them, one a second is logged at its own level, and the others at the level
// Debug. The zero value is ready.
type Each struct {
	mu    sync.Mutex
	since map[string]time.Time // of the last message that has kept its level
}

// most is how many things an Each remembers.
const most = 1024

// Log logs a message about the thing with that name at a level, or at Debug if a second has not
// passed.
func (e *Each) Log(l *slog.Logger, level slog.Level, name, text string, args ...any) {
	if e.isOver(name, time.Now()) {
		level = slog.LevelDebug
	}
	l.Log(context.Background(), level, text, args...)
}

func (e *Each) isOver(name string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.since[name]) < time.Second {
		return true
	}
	if e.since == nil {
		e.since = map[string]time.Time{}
	}
	if len(e.since) >= most {
		maps.DeleteFunc(e.since, func(_ string, since time.Time) bool {
			return now.Sub(since) >= time.Second
		})
	}
	if len(e.since) >= most {
		return true
	}
	e.since[name] = now
	return false
}

func (h *Hush) isOver(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.since) >= time.Second {
		h.since, h.count = now, 0
	}
	h.count++
	return h.count > PerSecond
}
