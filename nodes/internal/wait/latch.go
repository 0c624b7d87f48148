package wait

import (
	"sync"
	"sync/atomic"
)

// A Latch is open until it is shut, for good. The channel that tells of it is made when somebody
// asks for it: most are never waited for. The zero value is open.
type Latch struct {
	shut atomic.Bool
	mu   sync.Mutex
	done chan struct{} // closed when it is shut; nil: nobody has asked for it
}

// Shut shuts the latch.
func (l *Latch) Shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shut.Swap(true) && l.done != nil {
		close(l.done)
	}
}

// IsShut tells whether the latch is shut.
func (l *Latch) IsShut() bool { return l.shut.Load() }

// Done is closed when the latch is shut.
func (l *Latch) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.shut.Load() {
			close(l.done)
		}
	}
	return l.done
}
