// Package hush bounds what strangers and peers bring into a log.
package hush

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// PerSecond is how many messages of a Hush there are in a second.
const PerSecond = 20

// A Hush bounds how many messages in a log others bring about, who may do so any number of times: what is over it shows at the level Debug
// only. The zero value is ready.
type Hush struct {
	mu    sync.Mutex
	since time.Time
	count int // since then
}

// Log logs a message at a level, or at Debug.
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
