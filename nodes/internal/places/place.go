package places

import "sync"

// A Place is one function's, of a node's Places. It has it from its beginning to its end, but not
// while it waits for an answer, nor once its caller has given up.
type Place struct {
	Of   *Places // nil: none
	Peer string

	mu          sync.Mutex
	begun, over bool
	waits       int // calls that the function waits in
	gone        bool
	job         *Job // in the queue for places; nil: it did not have to wait
}

func (p *Place) isTaken() bool { return p.begun && !p.over && p.waits == 0 && !p.gone }

// IsTaken tells whether the function has the place now.
func (p *Place) IsTaken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isTaken()
}

// Wait notes that the function waits in one call more, and Waited that it does in one less. While
// it waits another function has the place.
func (p *Place) Wait() { p.change(func() { p.waits++ }) }

// Waited is the end of Wait.
func (p *Place) Waited() { p.change(func() { p.waits-- }) }

// End is the end of the function.
func (p *Place) End() { p.change(func() { p.over = true }) }

// change makes a change, and gives the place back, or takes one again, if that follows from it.
func (p *Place) change(f func()) {
	if p.Of == nil {
		return
	}
	p.mu.Lock()
	was := p.isTaken()
	f()
	is := p.isTaken()
	p.mu.Unlock()
	switch {
	case was && !is:
		p.Of.Leave(p.Peer)
	case is && !was:
		p.Of.Resume(p.Peer)
	}
}

// Await notes what waits for the place.
func (p *Place) Await(job *Job) {
	p.mu.Lock()
	p.job = job
	gone := p.gone
	p.mu.Unlock()
	if gone && job != nil {
		p.Of.BeginNow(p.Peer, job)
	}
}

// Abandon gives the place up for good. A function that still waits for one begins, to find that it
// is over.
func (p *Place) Abandon() {
	p.change(func() { p.gone = true })
	p.mu.Lock()
	job := p.job
	p.mu.Unlock()
	if job != nil {
		p.Of.BeginNow(p.Peer, job)
	}
}

// Begin is called when there is a place; false: none is needed, since the caller has given up
// meanwhile.
func (p *Place) Begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
	return p.isTaken()
}
