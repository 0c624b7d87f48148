package nodes

import (
	"slices"
	"sync"
)

// shares are the places of Config.MaxCalls: one for each function that runs for a remote caller. A peer gets one more as long as it has
// fewer than are free, over however many connections it has come for them. So of peers whose calls hang the first one takes half of all,
// the next one half of what that leaves, and so on.
type shares struct {
	mu      sync.Mutex
	free    int
	held    map[string]int // by the peer's name; "": callers of this node
	waiting []*seeker      // none of whom may have one at the moment; oldest first
}

// A seeker waits for a place.
type seeker struct {
	peer string
	got  chan struct{} // closed when it has one
}

func (s *shares) init(n int) { s.free, s.held = n, map[string]int{} }

// take waits for a place, until one of the two channels is closed: then it is false.
func (s *shares) take(peer string, gone, closed <-chan struct{}) bool {
	s.mu.Lock()
	if s.grant(peer) {
		s.mu.Unlock()
		return true
	}
	k := &seeker{peer, make(chan struct{})}
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
		s.putLocked(peer)
	default:
		s.waiting = slices.DeleteFunc(s.waiting, func(other *seeker) bool { return other == k })
	}
	return false
}

// grant gives a peer a place if it may have one; s.mu is held.
func (s *shares) grant(peer string) bool {
	if s.held[peer] >= s.free {
		return false
	}
	s.free--
	s.held[peer]++
	return true
}

// put gives a place back.
func (s *shares) put(peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(peer)
}

func (s *shares) putLocked(peer string) {
	s.free++
	if s.held[peer]--; s.held[peer] == 0 {
		delete(s.held, peer)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(k *seeker) bool {
		if !s.grant(k.peer) {
			return false
		}
		close(k.got)
		return true
	})
}
