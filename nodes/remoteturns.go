package nodes

import (
	"context"
	"fmt"
	"sync"
)

// remoteTurns are the functions that run for remote callers. A node that drains waits for them, but not for those whose callers no longer
// wait: if the caller's connection has ended, the function's context ends.
type remoteTurns struct {
	mu     sync.Mutex
	all    map[*turn]context.CancelFunc
	drains bool
}

func (s *remoteTurns) begin(t *turn, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	put(&s.all, t, cancel)
	if s.drains {
		s.abandon(t)
	}
}

func (s *remoteTurns) end(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
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
	defer s.mu.Unlock()
	s.drains = true
	for t := range s.all {
		s.abandon(t)
	}
}

// lost notes that a connection has ended.
func (s *remoteTurns) lost(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drains {
		return
	}
	for t := range s.all {
		if t.conn == c {
			s.abandon(t)
		}
	}
}

// abandon ends the context of a turn whose caller has gone; s.mu is held.
func (s *remoteTurns) abandon(t *turn) {
	if t.conn == nil {
		return
	}
	if err := t.conn.Err(); err != nil && err != ErrMoved {
		s.all[t]()
	}
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
