package nodes

import (
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// How the front takes what a worker says. The functions that take calls run with f.mu held.

// take handles one word that the worker says.
func (w *workerProcess) take(m talk.Word) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	defer m.Drop()
	w.hear()
	switch m.Topic {
	case talk.Ready:
		w.becomesReady()
	case talk.Took:
		w.took(m.Part)
	case talk.Shut:
		w.socketLost(m.ID)
	case talk.Here:
		w.answersProbe(m.ID)
	case talk.Sibling:
		w.lacksSibling(m.Part)
	case talk.Up:
		f.up(w, m.Key, m.Name)
	case talk.Over:
		if m.OK {
			w.failed = time.Now()
		}
		w.sessions--
		f.leave(w, m.Name)
	case talk.Claim:
		f.claim(w, &m)
	case talk.Register:
		w.line.Say(talk.Word{Topic: talk.Answer, ID: m.ID, OK: f.enroll(m.Name, tenancy{w, m.Number})})
	case talk.Release:
		w.releases(m.Name)
	case talk.Lookup:
		w.looksUp(&m)
	case talk.Drop:
		w.closesShadow(m.Name)
	case talk.Shadow:
		w.passShadow(&m)
	case talk.None:
		w.passOn(&m)
	case talk.Moved:
		w.tellMover(m)
	case talk.Stayed:
		if m.ID == w.moves { // else it is about an earlier move
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

// lacksSibling connects the worker anew with the one that has the number.
func (w *workerProcess) lacksSibling(number int) {
	other := w.f.crew[number]
	if other == nil || other == w {
		return
	}
	if err := w.f.pair(w, other); err != nil {
		w.f.n.log.Error("workers have no way to each other", "slots", []int{w.slot, other.slot}, "error", err)
		// as if the descriptor had been lost: the worker asks again
		w.line.Say(talk.Word{Topic: talk.Sibling, Part: number})
	}
}

// releases takes a name back, if it is the worker's.
func (w *workerProcess) releases(name string) {
	if w.f.names[name].w == w {
		w.f.forget(name)
	}
}

// looksUp answers the question which worker has a name.
func (w *workerProcess) looksUp(m *talk.Word) {
	answer := talk.Word{Topic: talk.Answer, ID: m.ID}
	if t, ok := w.f.names[m.Name]; ok {
		answer.OK, answer.Part, answer.Number = true, t.w.number, t.number
	}
	w.line.Say(answer)
}

// closesShadow tells the worker that has the connection to a peer to close it, since another worker
// has closed its remote link of it.
func (w *workerProcess) closesShadow(peer string) {
	if r := w.f.routes[peer]; r != nil && r.at != nil && r.at != w {
		r.at.line.Say(talk.Word{Topic: talk.Drop, Name: peer, OK: true})
	}
}

// passShadow passes a way to a peer on. If its descriptor was lost, the worker that it is for is
// told that there is none, so that it does not wait for ever.
func (w *workerProcess) passShadow(m *talk.Word) {
	switch {
	case m.FD > 0:
		w.passOn(m)
	case m.Peer != nil:
		none := talk.NoneWord(m.Part, m.Peer.Name)
		w.passOn(&none)
	}
}

// passOn passes a word on to the worker that Part names; in the word that this worker gets, Part
// names the sender.
func (w *workerProcess) passOn(m *talk.Word) {
	if to := w.f.crew[m.Part]; to != nil {
		m.Part = w.number
		to.line.Say(m.Keep())
	}
}

// tellMover passes on what becomes of the worker's move, if a goroutine waits for that.
func (w *workerProcess) tellMover(m talk.Word) {
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
	if err := f.roll.Enter(name); err != nil { // no worker would find it
		f.n.log.Error("name not registered", "name", name, "error", err)
		return false
	}
	f.names[name] = t
	return true
}

// forget takes a name back.
func (f *Front) forget(name string) {
	delete(f.names, name)
	f.roll.Strike(name)
}
