// Package hush bounds what strangers and peers bring into a log.
package hush

import (
	"log/slog"
	"sync"
	"time"
)

// PerSecond is how many warnings of a Hush there are in a second.
const PerSecond = 20

// A Hush bounds how many warnings others bring about, who may do so any number of times: what is over it shows at the level Debug only.
type Hush struct {
	mu    sync.Mutex
	since time.Time
	count int // since then
}

// Level is that of the next message: Warn or Debug.
func (h *Hush) Level(now time.Time) slog.Level {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.since) >= time.Second {
		h.since, h.count = now, 0
	}
	if h.count++; h.count > PerSecond {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
