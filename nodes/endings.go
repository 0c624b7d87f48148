package nodes

import (
	"sync"
	"sync/atomic"
)

// endings are the connections whose end processes are being told of. A Handler that begins meanwhile may be one of these, and close such a
// connection.
type endings struct {
	some atomic.Int32
	mu   sync.Mutex
	of   map[*Conn]bool // without those beside which one has begun
}

func (e *endings) enter(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of == nil {
		e.of = map[*Conn]bool{}
	}
	e.of[c] = true
	e.some.Add(1)
}

func (e *endings) leave(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.of, c)
	e.some.Add(-1)
}

// beginHandler notes that a Handler begins.
func (e *endings) beginHandler() {
	if e.some.Load() == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.of {
		close(c.handled)
	}
	clear(e.of)
}
