package nodes

import (
	"fmt"
	"sync"
)

// remoteTurns are the functions that run for remote callers, or wait for a place. If a caller no
// longer waits for the result, the function's context ends. A node that drains waits for functions,
// but not for those, whatever they are, whose callers' connections have ended.
type remoteTurns struct {
	mu      sync.Mutex
	all     map[*turn]struct{}
	awaited map[monitorID]*turn // those whose callers wait with a monitor
	drains  bool
}

func (s *remoteTurns) add(t *turn) {
	s.mu.Lock()
	put(&s.all, t, struct{}{})
	if t.waits.ref.Len > 0 {
		put(&s.awaited, t.waits, t)
	}
	lost := t.isLost() && (t.asked || s.drains) // what was read before the end still counts
	s.mu.Unlock()
	if lost {
		t.abandon()
	}
}

func (s *remoteTurns) remove(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
	if s.awaited[t.waits] == t {
		delete(s.awaited, t.waits)
	}
}

// calls notes which function a turn is about to call; t may be nil.
func (s *remoteTurns) calls(t *turn, f function) {
	if t != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.calls = f
	}
}

// drain notes that the node drains.
func (s *remoteTurns) drain() {
	s.mu.Lock()
	s.drains = true
	s.mu.Unlock()
	s.abandon((*turn).isLost)
}

// lost notes that a connection has ended.
func (n *Node) lost(c *Conn) {
	if s := &n.procs.turns; c.lost() {
		s.abandon(func(t *turn) bool { return t.conn == c && (t.asked || s.drains) })
	}
}

// unawaited notes that a caller has ended the monitor with which it waited: it has given up, if it
// has no result yet.
func (s *remoteTurns) unawaited(id monitorID) {
	s.mu.Lock()
	t := s.awaited[id]
	s.mu.Unlock()
	if t != nil {
		t.abandon()
	}
}

// abandon abandons the turns of which is returns true; it is called with s.mu held.
func (s *remoteTurns) abandon(is func(t *turn) bool) {
	var all []*turn
	s.mu.Lock()
	for t := range s.all {
		if is(t) {
			all = append(all, t)
		}
	}
	s.mu.Unlock()
	for _, t := range all {
		t.abandon()
	}
}

// isLost tells whether the connection over which the function was called has ended.
func (t *turn) isLost() bool { return t.conn != nil && t.conn.lost() }

// abandon ends the context of a function whose result nobody awaits. However long it goes on, it
// occupies no place.
func (t *turn) abandon() {
	t.gone.Store(true)
	t.end()
	t.place.abandon()
}

// names gives the functions that run, and how many of each.
func (s *remoteTurns) names() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[function]int{}
	for t := range s.all {
		if t.calls != (function{}) {
			counts[t.calls]++
		}
	}
	for f, n := range counts {
		names = append(names, fmt.Sprintf("%d of %v:%v", n, f.module, f.name))
	}
	return names
}
