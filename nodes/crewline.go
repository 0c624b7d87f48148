package nodes

import (
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// How the front takes what a worker says. The functions that take calls run with f.mu held.

// take handles one message of the worker.
func (w *workerProcess) take(m talk.Message) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	defer talk.Drop(m)
	w.hear()
	switch m := m.(type) {
	case *talk.Ready:
		w.becomesReady()
	case *talk.Took:
		w.took(m.Via)
	case *talk.SocketLost:
		w.socketLost(m.Number)
	case *talk.Here:
		w.answersProbe(m.ID)
	case *talk.WorkerLink:
		w.lacksWorkerLink(m.Part)
	case *talk.Up:
		f.up(w, m.Key, m.Peer)
	case *talk.Over:
		if m.Untaken {
			w.failed = time.Now()
		}
		w.sessions--
		f.leave(w, m.Peer)
	case *talk.Claim:
		f.claim(w, m)
	case *talk.Register:
		w.line.Say(&talk.Answer{ID: m.ID, OK: f.enroll(m.Name, tenancy{w, m.Key})})
	case *talk.Release:
		w.releases(m.Name)
	case *talk.Lookup:
		w.looksUp(m)
	case *talk.CloseConn:
		w.closesRemoteLink(m.Peer)
	case *talk.RemoteLink:
		w.passRemoteLink(m)
	case *talk.NoConn:
		w.tellOther(m.Part, &talk.NoConn{Part: w.number, Peer: m.Peer})
	case *talk.Moved:
		w.tellMover(m)
	case *talk.Stayed:
		if m.Move == w.moves { // else it is about an earlier move
			w.tellMover(m)
		}
	}
}

// hear notes that the worker has said something.
func (w *workerProcess) hear() {
	now := time.Now()
	w.heard.Store(&now)
	if w.hangs {
		w.hangs = false
		w.f.n.log.Info("worker is back", "slot", w.slot)
		w.f.change.Ring()
	}
}

// becomesReady notes that sessions may be given to the worker.
func (w *workerProcess) becomesReady() {
	if !w.ready {
		w.ready = true
		close(w.began)
		w.f.change.Ring()
	}
}

// answersProbe wakes the goroutine that has sent the probe.
func (w *workerProcess) answersProbe(id uint64) {
	if c := w.probes[id]; c != nil {
		close(c)
		delete(w.probes, id)
	}
}

// lacksWorkerLink connects the worker anew with the one that has the number.
func (w *workerProcess) lacksWorkerLink(number int) {
	other := w.f.crew[number]
	if other == nil || other == w {
		return
	}
	if err := w.f.pair(w, other); err != nil {
		w.f.n.log.Error("workers have no way to each other", "slots", []int{w.slot, other.slot}, "error", err)
		// as if the descriptor had been lost: the worker asks again
		w.line.Say(&talk.WorkerLink{Part: number})
	}
}

// releases takes a name back, if it is the worker's.
func (w *workerProcess) releases(name string) {
	if w.f.names[name].w == w {
		w.f.forget(name)
	}
}

// looksUp answers the question which worker has a name.
func (w *workerProcess) looksUp(m *talk.Lookup) {
	answer := &talk.Answer{ID: m.ID}
	if t, ok := w.f.names[m.Name]; ok {
		answer.OK, answer.Part, answer.Number = true, t.w.number, t.number
	}
	w.line.Say(answer)
}

// closesRemoteLink tells the worker that has the connection to a peer to close it, since another
// worker has closed its remote link of it.
func (w *workerProcess) closesRemoteLink(peer string) {
	if r := w.f.routes[peer]; r != nil && r.at != nil && r.at != w {
		r.at.line.Say(&talk.CloseConn{Peer: peer, Closed: true})
	}
}

// passRemoteLink passes a way to a peer on. If its descriptor was lost, the worker that it is for
// is told that there is none, so that it does not wait for ever.
func (w *workerProcess) passRemoteLink(m *talk.RemoteLink) {
	switch {
	case m.FD > 0:
		to := m.Part
		m.Part = w.number
		w.tellOther(to, talk.Keep(m))
	case m.Peer != nil:
		w.tellOther(m.Part, &talk.NoConn{Part: w.number, Peer: m.Peer.Name})
	}
}

// tellOther says to the worker with a number what this one has said for it.
func (w *workerProcess) tellOther(number int, m talk.Message) {
	if to := w.f.crew[number]; to != nil {
		to.line.Say(m)
	} else {
		talk.Drop(m)
	}
}

// tellMover passes on what becomes of the worker's move, if a goroutine waits for that.
func (w *workerProcess) tellMover(m talk.Message) {
	select {
	case w.moving <- m:
	default:
	}
}

// enroll gives a name to the process that has asked for it, unless it is taken.
func (f *Front) enroll(name string, t tenancy) bool {
	if _, taken := f.names[name]; taken {
		return false
	}
	if err := f.nameTable.Enter(name); err != nil { // no worker would find it
		f.n.log.Error("name not registered", "name", name, "error", err)
		return false
	}
	f.names[name] = t
	return true
}

// forget takes a name back.
func (f *Front) forget(name string) {
	delete(f.names, name)
	f.nameTable.Strike(name)
}
