package crew

import (
	"errors"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// MaxUntaken bounds the sessions that a worker has not yet taken out of its sockets. A worker with
// that many is passed over.
const MaxUntaken = 2 * talk.LullCount

// A session is a socket that was pushed to a worker, and that the worker has not taken yet.
type session struct {
	s         handedSocket
	peer      string // the name under which it is counted
	socket    uint64 // the number of the forwarder's socket that it went through
	timer     *time.Timer
	due       time.Time // when the timer is to fire
	late      bool      // the timer has fired late once: this process stood still
	withdrawn bool
}

// A handedSocket is a socket of which a worker has, or is about to get, a descriptor of its own.
type handedSocket interface {
	Descriptor() (int, error)
	Release() error // frees it here, without a byte to the peer
}

// A keptSocket is a socket that the front's previous process has given to a worker.
type keptSocket int

func (s keptSocket) Descriptor() (int, error) { return int(s), nil }
func (s keptSocket) Release() error           { return descriptor.Close(int(s)) }

// newForwarder makes a Forwarder, and the socket out of which a worker takes its sessions.
func newForwarder() (*bind10.Forwarder, int, error) {
	one, other, err := descriptor.StreamPair()
	if err != nil {
		return nil, -1, err
	}
	conn, err := descriptor.Conn(one)
	if err != nil {
		return nil, -1, errors.Join(err, descriptor.Close(other))
	}
	forward, err := bind10.NewForwarderConn(conn)
	if err != nil {
		return nil, -1, errors.Join(err, conn.Close(), descriptor.Close(other))
	}
	return forward, other, nil
}

// took notes that a worker has taken the oldest of the sessions that were pushed to it via the
// forwarder, or via the line; c.mu is held.
func (w *Worker) took(via int) {
	if via != talk.ViaForwarder && via != talk.ViaLine || len(w.untaken[via]) == 0 {
		return
	}
	s := w.untaken[via][0]
	w.untaken[via] = w.untaken[via][1:]
	s.timer.Stop()
	if !s.withdrawn {
		_ = s.s.Release()
	}
	if len(w.untaken[via]) == MaxUntaken-1 || w.moving != nil && w.burden() == 0 {
		w.crew.change.Ring()
	}
}

// socketLost notes that a worker takes no more sessions out of a socket. The sessions that are left
// there, or in an earlier socket, are lost, and their peers come again. c.mu is held.
func (w *Worker) socketLost(socket uint64) {
	w.failed = time.Now()
	list := w.untaken[talk.ViaForwarder]
	for len(list) > 0 && list[0].socket <= socket {
		s := list[0]
		list = list[1:]
		s.timer.Stop()
		s.withdraw()
		w.sessions--
		w.crew.leave(w, s.peer)
	}
	w.untaken[talk.ViaForwarder] = list
	if socket == w.socket {
		w.closeForward()
	}
	w.crew.change.Ring()
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

// closeForward ends the socket for sessions; the next session that is pushed gets another one. c.mu
// is held.
func (w *Worker) closeForward() {
	if w.forward != nil {
		_ = w.forward.Close() // as a rule it is closed already
		w.forward = nil
	}
}

// burden is how many sessions the worker has not taken yet; c.mu is held.
func (w *Worker) burden() int {
	return len(w.untaken[talk.ViaForwarder]) + len(w.untaken[talk.ViaLine])
}

// reopen gives a worker a new socket for sessions. The worker reads the old one to its end first.
// c.mu is held.
func (w *Worker) reopen() error {
	forward, other, err := newForwarder()
	if err != nil {
		return err
	}
	w.closeForward()
	w.forward = forward
	w.socket++
	w.Say(&talk.SessionSocket{Number: w.socket, FD: other})
	return nil
}

// awaitTaken bounds the time in which a worker takes a session; c.mu is held.
func (w *Worker) awaitTaken(s *session) {
	s.due = time.Now().Add(w.crew.cfg.Patience)
	s.timer = time.AfterFunc(w.crew.cfg.Patience, func() { w.recall(s) })
}

// recall ends a session that its worker has not taken in time.
func (w *Worker) recall(s *session) {
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	switch {
	// the process that the front or the worker moves to may take it
	case w.crew.still.IsShut() || w.moving != nil:
		s.due = time.Now().Add(w.crew.cfg.Patience)
		s.timer.Reset(w.crew.cfg.Patience)
		return
	// the message that it was taken may not have been read yet
	case !s.late && time.Since(s.due) > talk.Lull:
		s.late = true
		s.timer.Reset(4 * talk.Lull)
		return
	}
	if !s.withdrawn && (slices.Contains(w.untaken[talk.ViaForwarder], s) || slices.Contains(w.untaken[talk.ViaLine], s)) {
		w.hang()
		s.withdraw()
	}
}
