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

// An Each bounds the rate for each of many things, of which there may be any number: the first
// message about one of them is logged at its own level, and then one a minute, with the number of
// those that it stands for; the others are logged at the level Debug. The zero value is ready.
type Each struct {
	mu    sync.Mutex
	about map[string]*told
}

// told is what was said about a thing.
type told struct {
	last  time.Time // of the message that has kept its level
	since int       // messages that have not, after it
}

// most is how many things an Each remembers.
const most = 1024

// Log logs a message about the thing with that name at a level, or at Debug if a minute has not
// passed.
func (e *Each) Log(l *slog.Logger, level slog.Level, name, text string, args ...any) {
	times := e.times(name, time.Now())
	switch {
	case times == 0:
		level = slog.LevelDebug
	case times > 1:
		args = append(args, "times", times)
	}
	l.Log(context.Background(), level, text, args...)
}

// times is how many messages the next one about a thing stands for; 0 if it does not keep its
// level.
func (e *Each) times(name string, now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.about[name]
	if t != nil && now.Sub(t.last) < time.Minute {
		t.since++
		return 0
	}
	if t == nil {
		if len(e.about) >= most {
			maps.DeleteFunc(e.about, func(_ string, t *told) bool { return now.Sub(t.last) >= time.Minute })
		}
		if len(e.about) >= most {
			return 0
		}
		if e.about == nil {
			e.about = map[string]*told{}
		}
		t = &told{}
		e.about[name] = t
	}
	times := t.since + 1
	*t = told{last: now}
	return times
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
