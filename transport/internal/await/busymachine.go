package await

import (
	"sync"
	"sync/atomic"
	"time"
)

// A busyMachine is what the readers of one Transport know of other programs that compute on all
// processors. A reader that polls beside them uses up its share of a processor, and loses it just
// when its answer comes; one that sleeps is woken at once. It shows in a poll that stands still
// between two tries.
type busyMachine struct {
	after time.Duration // how long it stands still then, at least; 0: none is ever found
	until atomic.Int64  // nobody polls before this time, in nanoseconds since 1970

	mu    sync.Mutex
	lasts time.Duration // how long nobody polls, as last found
}

const (
	// A poll that stands still for longer has lost its processor to a program that computes: what
	// the system does by itself takes less.
	standsStill = time.Millisecond

	// How long nobody polls then: at first, and at most if the next poll stands still as well.
	busyAtFirst = 20 * time.Millisecond
	busyAtMost  = 640 * time.Millisecond
)

func (m *busyMachine) isBusy(now time.Time) bool { return now.UnixNano() < m.until.Load() }

// tried is called after each try of a poll; took is the time since the one before.
func (m *busyMachine) tried(took time.Duration, now time.Time) {
	if m.after == 0 || took < m.after {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch polledFor := now.Sub(time.Unix(0, m.until.Load())); {
	case polledFor < 0: // another reader has found it meanwhile
		return
	case polledFor < m.lasts:
		m.lasts = min(2*m.lasts, busyAtMost)
	default:
		m.lasts = busyAtFirst
	}
	m.until.Store(now.Add(m.lasts).UnixNano())
}
