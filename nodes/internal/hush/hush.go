// Package hush bounds how much strangers and peers can make a program log.
package hush

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// PerSecond is how many messages a second a Hush logs at their own level.
const PerSecond = 20

// A Hush bounds the rate of log messages that others can provoke any number of times: messages over the limit are logged at the level
// Debug. The zero value is ready.
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

func (h *Hush) isOver(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.since) >= time.Second {
		h.since, h.count = now, 0
	}
	h.count++
	return h.count > PerSecond
}
