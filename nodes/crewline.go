package nodes

import "time"

// What a worker says, as the front takes it. All behind take is called with f.mu held.

// take does what the worker says.
func (w *crewman) take(m word) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	defer m.drop()
	w.hear()
	switch m.Topic {
	case sayReady:
		w.becomesReady()
	case sayTook:
		w.took(m.Part)
	case sayShut:
		w.socketLost(m.ID)
	case sayHere:
		w.answersProbe(m.ID)
	case saySibling:
		w.lacksSibling(m.Part)
	case sayUp:
		f.up(w, m.Key, m.Name)
	case sayOver:
		w.sessions--
		f.leave(w, m.Name)
	case sayClaim:
		f.claim(w, &m)
	case sayRegister:
		w.line.say(word{Topic: sayAnswer, ID: m.ID, OK: f.enroll(m.Name, tenancy{w, m.Number})})
	case sayRelease:
		w.releases(m.Name)
	case sayLookup:
		w.looksUp(&m)
	case sayDrop:
		w.closesShadow(m.Name)
	case sayShadow:
		w.passShadow(&m)
	case sayNone:
		w.passOn(&m)
	case sayMoved:
		w.tellMover(m)
	case sayStayed:
		if m.ID == w.moves { // else it is of an earlier time
			w.tellMover(m)
		}
	}
}

// hear notes that the worker has said something.
func (w *crewman) hear() {
	w.heard.Store(time.Now().UnixNano())
	if w.hangs {
		w.hangs = false
		w.f.n.log.Info("worker is back", "slot", w.slot)
		w.f.change.Ring()
	}
}

// becomesReady notes that sessions may be given to the worker.
func (w *crewman) becomesReady() {
	if !w.ready {
		w.ready = true
		close(w.began)
		w.f.change.Ring()
	}
}

// answersProbe wakes who has asked whether the worker is there.
func (w *crewman) answersProbe(id uint64) {
	if c := w.probes[id]; c != nil {
		close(c)
		delete(w.probes, id)
	}
}

// lacksSibling gives the worker, and the one of that number, another way to each other.
func (w *crewman) lacksSibling(number int) {
	other := w.f.crew[number]
	if other == nil || other == w {
		return
	}
	if err := w.f.pair(w, other); err != nil {
		w.f.n.log.Error("workers have no way to each other", "slots", []int{w.slot, other.slot}, "error", err)
		w.line.say(word{Topic: saySibling, Part: number}) // as if it had been lost: it asks again
	}
}

// releases takes a name back, if it is the worker's.
func (w *crewman) releases(name string) {
	if w.f.names[name].w == w {
		w.f.forget(name)
	}
}

// looksUp answers which worker has a name.
func (w *crewman) looksUp(m *word) {
	answer := word{Topic: sayAnswer, ID: m.ID}
	if t, ok := w.f.names[m.Name]; ok {
		answer.OK, answer.Part, answer.Number = true, t.w.number, t.number
	}
	w.line.say(answer)
}

// closesShadow has the connection closed of which the worker has closed its shadow.
func (w *crewman) closesShadow(peer string) {
	if r := w.f.routes[peer]; r != nil && r.at != nil && r.at != w {
		r.at.line.say(word{Topic: sayDrop, Name: peer, OK: true})
	}
}

// passShadow passes a way to a peer on. Who waits for one whose descriptor was lost hears that there is none, not to wait for ever.
func (w *crewman) passShadow(m *word) {
	switch {
	case m.fd > 0:
		w.passOn(m)
	case m.Peer != nil:
		none := noneWord(m.Part, m.Peer.Name)
		w.passOn(&none)
	}
}

// passOn passes a word on to the worker that it names, which hears whose it is.
func (w *crewman) passOn(m *word) {
	if to := w.f.crew[m.Part]; to != nil {
		m.Part = w.number
		to.line.say(m.keep())
	}
}

// tellMover gives what becomes of the worker's move to who waits for it, if anybody does.
func (w *crewman) tellMover(m word) {
	select {
	case w.moving <- m:
	default:
	}
}

// enroll gives a name to who has asked for it, unless somebody has it.
func (f *Front) enroll(name string, t tenancy) bool {
	if _, taken := f.names[name]; taken {
		return false
	}
	if err := f.roll.Enter(name); err != nil { // nobody would find it
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
