package nodes

import (
	"slices"
	"sync"
)

// shares are the places of Config.MaxCalls: one for each function that runs for a remote caller. A connection gets one more as long as it
// has fewer than are free. So of peers whose calls hang the first one takes half of all, the next one half of what that leaves, and so on.
type shares struct {
	mu      sync.Mutex
	free    int
	held    map[*Conn]int // nil: callers of this node
	waiting []*seeker     // none of whom may have one at the moment; oldest first
}

// A seeker waits for a place.
type seeker struct {
	c   *Conn
	got chan struct{} // closed when it has one
}

func (s *shares) init(n int) { s.free, s.held = n, map[*Conn]int{} }

// take waits for a place, until one of the two channels is closed: then it is false.
func (s *shares) take(c *Conn, gone, closed <-chan struct{}) bool {
	s.mu.Lock()
	if s.grant(c) {
		s.mu.Unlock()
		return true
	}
	k := &seeker{c, make(chan struct{})}
	s.waiting = append(s.waiting, k)
	s.mu.Unlock()
	select {
	case <-k.got:
		return true
	case <-gone:
	case <-closed:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-k.got: // just now
		s.putLocked(c)
	default:
		s.waiting = slices.DeleteFunc(s.waiting, func(other *seeker) bool { return other == k })
	}
	return false
}

// grant gives a connection a place if it may have one; s.mu is held.
func (s *shares) grant(c *Conn) bool {
	if s.held[c] >= s.free {
		return false
	}
	s.free--
	s.held[c]++
	return true
}

// put gives a place back.
func (s *shares) put(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(c)
}

func (s *shares) putLocked(c *Conn) {
	s.free++
	if s.held[c]--; s.held[c] == 0 {
		delete(s.held, c)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(k *seeker) bool {
		if !s.grant(k.c) {
			return false
		}
		close(k.got)
		return true
	})
}
