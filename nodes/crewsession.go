package nodes

import (
	"errors"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// maxUntaken bounds the sessions that a worker has not yet taken out of its sockets. One more passes it over.
const maxUntaken = 2 * talk.LullWords

// A session is a socket that was pushed to a worker, until that one has taken it.
type session struct {
	s         handedSocket
	peer      string // under which it is counted
	socket    uint64 // that it went through, of those for the forwarder
	timer     *time.Timer
	due       time.Time // when the timer is to ring
	late      bool      // it has rung late once: this process stood still
	withdrawn bool
}

// A handedSocket is one of which a worker has, or is about to get, a descriptor of its own.
type handedSocket interface {
	Descriptor() (int, error)
	Release() error // without a byte
}

// A keptSocket is one that this front's process before has given to a worker.
type keptSocket int

func (s keptSocket) Descriptor() (int, error) { return int(s), nil }
func (s keptSocket) Release() error           { return descriptor.Close(int(s)) }

// newForwarder makes a Forwarder, and the socket at whose other end its sessions arrive.
func newForwarder() (*handoff.Forwarder, int, error) {
	one, other, err := descriptor.StreamPair()
	if err != nil {
		return nil, -1, err
	}
	conn, err := connOf(one)
	if err != nil {
		return nil, -1, errors.Join(err, descriptor.Close(other))
	}
	forward, err := handoff.NewForwarderConn(conn)
	if err != nil {
		return nil, -1, errors.Join(err, conn.Close(), descriptor.Close(other))
	}
	return forward, other, nil
}

// took notes that a worker has taken the oldest of the sessions that went to it via the forwarder, or the line; f.mu is held.
func (w *crewman) took(via int) {
	if via != talk.ViaForwarder && via != talk.ViaLine || len(w.untaken[via]) == 0 {
		return
	}
	s := w.untaken[via][0]
	w.untaken[via] = w.untaken[via][1:]
	s.timer.Stop()
	if !s.withdrawn {
		_ = s.s.Release()
	}
	if len(w.untaken[via]) == maxUntaken-1 || w.moving != nil && w.burden() == 0 {
		w.f.change.Ring()
	}
}

// socketLost notes that a worker takes no more sessions out of a socket: those that it has not taken are lost, and their peers come again.
// f.mu is held.
func (w *crewman) socketLost(socket uint64) {
	list := w.untaken[talk.ViaForwarder]
	for len(list) > 0 && list[0].socket <= socket {
		s := list[0]
		list = list[1:]
		s.timer.Stop()
		s.withdraw()
		w.sessions--
		w.f.leave(w, s.peer)
	}
	w.untaken[talk.ViaForwarder] = list
	if socket == w.socket {
		w.closeForward()
	}
	w.f.change.Ring()
}

// withdraw ends the connection, for the worker as well.
func (s *session) withdraw() {
	if s.withdrawn {
		return
	}
	s.withdrawn = true
	if fd, err := s.s.Descriptor(); err == nil {
		descriptor.Shutdown(fd)
	}
	_ = s.s.Release()
}

// closeForward ends the socket for sessions; the next session that is pushed gets another one. f.mu is held.
func (w *crewman) closeForward() {
	if w.forward != nil {
		_ = w.forward.Close() // as a rule it is
		w.forward = nil
	}
}

// burden is how many sessions the worker has not taken yet; f.mu is held.
func (w *crewman) burden() int {
	return len(w.untaken[talk.ViaForwarder]) + len(w.untaken[talk.ViaLine])
}

// reopen gives a worker another socket for sessions, when the one that it has is broken. The worker reads that one to its end first. f.mu
// is held.
func (w *crewman) reopen() error {
	forward, other, err := newForwarder()
	if err != nil {
		return err
	}
	w.closeForward()
	w.forward = forward
	w.socket++
	w.line.Say(talk.Word{Topic: talk.Sessions, ID: w.socket, FD: other})
	return nil
}

// awaitTaken bounds the time in which a worker takes a session; f.mu is held.
func (w *crewman) awaitTaken(s *session) {
	s.due = time.Now().Add(w.f.cfg.Patience)
	s.timer = time.AfterFunc(w.f.cfg.Patience, func() { w.recall(s) })
}

// recall ends a session that its worker has not taken in time.
func (w *crewman) recall(s *session) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	switch {
	case w.f.still.IsShut() || w.moving != nil: // it may be taken there
		s.due = time.Now().Add(w.f.cfg.Patience)
		s.timer.Reset(w.f.cfg.Patience)
		return
	case !s.late && time.Since(s.due) > talk.Lull: // that it was taken may wait to be read
		s.late = true
		s.timer.Reset(4 * talk.Lull)
		return
	}
	if !s.withdrawn && (slices.Contains(w.untaken[talk.ViaForwarder], s) || slices.Contains(w.untaken[talk.ViaLine], s)) {
		w.hang()
		s.withdraw()
	}
}
