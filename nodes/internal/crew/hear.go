package crew

import (
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// How the front takes what a worker says. The functions that take calls run with c.mu held.

// take handles one message of the worker.
func (w *Worker) take(m talk.Message) {
	c := w.crew
	c.mu.Lock()
	defer c.mu.Unlock()
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
		c.up(w, m.Key, m.Peer)
	case *talk.Over:
		if m.Untaken {
			w.failed = time.Now()
		}
		w.sessions--
		c.leave(w, m.Peer)
	case *talk.Claim:
		c.claim(w, m)
	case *talk.Register:
		w.Say(&talk.Answer{ID: m.ID, OK: c.enroll(m.Name, tenancy{w, m.Key})})
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
		w.tellPublished() // the new process has not heard it
		w.tellMover(m)
	case *talk.Stayed:
		if m.Move == w.moves { // else it is about an earlier move
			w.tellMover(m)
		}
	}
}

// hear notes that the worker has said something.
func (w *Worker) hear() {
	now := time.Now()
	w.heard.Store(&now)
	if w.hangs {
		w.hangs = false
		w.crew.cfg.Log.Info("worker is back", "slot", w.slot)
		w.crew.change.Ring()
	}
}

// becomesReady notes that sessions may be given to the worker.
func (w *Worker) becomesReady() {
	if !w.ready {
		w.ready = true
		close(w.began)
		w.crew.change.Ring()
	}
}

// answersProbe wakes the goroutine that has sent the probe.
func (w *Worker) answersProbe(id uint64) {
	if c := w.probes[id]; c != nil {
		close(c)
		delete(w.probes, id)
	}
}

// lacksWorkerLink connects the worker anew with the one that has the number.
func (w *Worker) lacksWorkerLink(number int) {
	other := w.crew.workers[number]
	if other == nil || other == w {
		return
	}
	if err := w.crew.pair(w, other); err != nil {
		w.crew.cfg.Log.Error("workers have no way to each other", "slots", []int{w.slot, other.slot}, "error", err)
		// as if the descriptor had been lost: the worker asks again
		w.Say(&talk.WorkerLink{Part: number})
	}
}

// releases takes a name back, if it is the worker's.
func (w *Worker) releases(name string) {
	if w.crew.names[name].w == w {
		w.crew.forget(name)
	}
}

// looksUp answers the question which worker has a name.
func (w *Worker) looksUp(m *talk.Lookup) {
	answer := &talk.Answer{ID: m.ID}
	if t, ok := w.crew.names[m.Name]; ok {
		answer.OK, answer.Part, answer.Number = true, t.w.number, t.number
	}
	w.Say(answer)
}

// closesRemoteLink tells the worker that has the connection to a peer to close it, since another
// worker has closed its remote link of it.
func (w *Worker) closesRemoteLink(peer string) {
	if r := w.crew.routes[peer]; r != nil && r.at != nil && r.at != w {
		r.at.Say(&talk.CloseConn{Peer: peer, Closed: true})
	}
}

// passRemoteLink passes a way to a peer on. If its descriptor was lost, the worker that it is for
// is told that there is none, so that it does not wait for ever.
func (w *Worker) passRemoteLink(m *talk.RemoteLink) {
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
func (w *Worker) tellOther(number int, m talk.Message) {
	if to := w.crew.workers[number]; to != nil {
		to.Say(m)
	} else {
		talk.Drop(m)
	}
}

// tellMover passes on what becomes of the worker's move, if a goroutine waits for that.
func (w *Worker) tellMover(m talk.Message) {
	select {
	case w.moving <- m:
	default:
	}
}

// enroll gives a name to the process that has asked for it, unless it is taken.
func (c *Crew) enroll(name string, t tenancy) bool {
	if _, taken := c.names[name]; taken {
		return false
	}
	if err := c.nameTable.Enter(name); err != nil { // no worker would find it
		c.cfg.Log.Error("name not registered", "name", name, "error", err)
		return false
	}
	c.names[name] = t
	return true
}

// forget takes a name back.
func (c *Crew) forget(name string) {
	delete(c.names, name)
	c.nameTable.Strike(name)
}
