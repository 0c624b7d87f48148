// Package places says how much of a node each of its peers may have: places for functions that
// run, and memory for what waits. It knows neither nodes nor functions, and nothing in it waits.
package places

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

// Places are for functions that run for peers. A peer gets another place as long as it has fewer
// than are free. So of peers whose functions hang the first one takes half of all places, the next
// one half of what that leaves, and so on. What gets no place waits in the queue of its peer.
type Places struct {
	mu      sync.Mutex
	ask     bool // free is DefaultPlaces, which nobody has asked for yet
	free    int  // below zero when functions have gone on without waiting: see Resume
	users   map[string]*user
	waiting []*user // those with a queue; the one served last is behind the others
	spare   *user   // is to be used again; nil: there is none
}

// A user is a peer that has places, or waits for one.
type user struct {
	peer  string
	held  int
	queue list.List // of *Job, oldest first
}

// A Function is what needs a place. Begin begins it, and does not wait; false: it needs no place
// after all.
type Function interface{ Begin() bool }

// A Job is a function that waits for a place.
type Job struct {
	since time.Time // when it began to wait
	f     Function
	at    *list.Element // in the queue; nil: it waits no longer
}

// New makes n places; 0: DefaultPlaces, which is found out when the first one is needed.
func New(n int) *Places { return &Places{ask: n == 0, free: n, users: map[string]*user{}} }

// Begin begins a function for a peer: now, or when there is a place for it; then j is what waits.
// Leave gives the place back. waited is for how long the peer's oldest function has been waiting.
func (p *Places) Begin(peer string, f Function) (j *Job, waited time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.user(peer)
	if u.queue.Len() == 0 && u.held < p.free {
		p.begin(u, f)
		return nil, 0
	}
	if u.queue.Len() == 0 {
		p.waiting = append(p.waiting, u)
	}
	j = &Job{since: time.Now(), f: f}
	j.at = u.queue.PushBack(j)
	return j, j.since.Sub(u.queue.Front().Value.(*Job).since)
}

// BeginNow begins a job before its turn, if it still waits: it needs no place any more, as its
// Begin is to say.
func (p *Places) BeginNow(peer string, j *Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.at == nil {
		return
	}
	u := p.user(peer)
	u.queue.Remove(j.at)
	j.at = nil
	if u.queue.Len() == 0 {
		p.waiting = slices.DeleteFunc(p.waiting, func(w *user) bool { return w == u })
	}
	p.begin(u, j.f)
}

// Leave gives a place back: the function has ended, or waits for something that may need a place.
func (p *Places) Leave(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.user(peer)
	p.free++
	u.held--
	p.grant()
	p.forget(u)
}

// Resume takes a place for a function that goes on after a Leave, whether one is free or not: if
// such a function waited, it could be for others that wait for it.
func (p *Places) Resume(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.user(peer)
	p.free--
	u.held++
	p.forget(u) // if the Leave that belongs to a later one has come first
}

// Counts gives how many functions run, and how many wait for a place.
func (p *Places) Counts() (run, wait int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.users {
		run, wait = run+u.held, wait+u.queue.Len()
	}
	return run, wait
}

func (p *Places) user(peer string) *user {
	if p.ask {
		p.ask, p.free = false, p.free+DefaultPlaces()
	}
	u := p.users[peer]
	if u == nil {
		if u, p.spare = p.spare, nil; u == nil {
			u = new(user)
		}
		u.peer = peer
		p.users[peer] = u
	}
	return u
}

// grant gives places to the users that may have them, by turns.
func (p *Places) grant() {
	for {
		i := slices.IndexFunc(p.waiting, func(u *user) bool { return u.held < p.free })
		if i < 0 {
			return
		}
		u := p.waiting[i]
		p.waiting = slices.Delete(p.waiting, i, i+1)
		j := u.queue.Remove(u.queue.Front()).(*Job)
		j.at = nil
		if u.queue.Len() > 0 {
			p.waiting = append(p.waiting, u)
		}
		p.begin(u, j.f)
	}
}

func (p *Places) begin(u *user, f Function) {
	if f.Begin() {
		p.free--
		u.held++
	}
	p.forget(u)
}

// forget drops a user that neither has a place nor waits for one.
func (p *Places) forget(u *user) {
	if u.held == 0 && u.queue.Len() == 0 {
		delete(p.users, u.peer)
		p.spare = u
	}
}
