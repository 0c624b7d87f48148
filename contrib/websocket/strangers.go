package cnodews

import (
	"crypto/tls"
	"slices"
	"sync"
)

// strangers counts the accepted connections whose handshake has not succeeded: those that wait to
// be accepted or shake hands, and those that have been refused and are on their way out, of which
// there is none while there are more than most.
type strangers struct {
	most int

	mu      sync.Mutex
	all     int
	leaving []*socket // oldest first
}

// enter counts a connection that has come.
func (a *strangers) enter(s *socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.among, s.strange = a, true
	a.all++
	a.cutLocked()
}

// leave is for a connection that is being closed; false: it is no stranger's.
func (a *strangers) leave(s *socket) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.strange {
		return false
	}
	a.leaving = append(a.leaving, s)
	a.cutLocked()
	return true
}

// lose no longer counts a connection: its handshake has succeeded, or it is gone.
func (a *strangers) lose(s *socket) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loseLocked(s)
}

func (a *strangers) loseLocked(s *socket) {
	if !s.strange {
		return
	}
	s.strange = false
	a.all--
	if i := slices.Index(a.leaving, s); i >= 0 {
		a.leaving = slices.Delete(a.leaving, i, i+1)
	}
}

func (a *strangers) cutLocked() {
	for a.all > a.most && len(a.leaving) > 0 {
		s := a.leaving[0]
		a.loseLocked(s)
		s.cut()
	}
}

// cut ends what carries the connection, without a word: of TLS neither, which would wait for a peer
// that does not read.
func (s *socket) cut() {
	s.cancel()
	below := s.below
	if c, ok := below.(*tls.Conn); ok {
		below = c.NetConn()
	}
	if below != nil {
		_ = below.Close()
	}
}
