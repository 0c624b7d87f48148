package wait

import (
	"context"
	"runtime/pprof"
	"slices"
	"sync"
	"time"
)

const (
	// keepIdle is how many goroutines a Pool keeps at the most that have nothing to do.
	keepIdle = 256
	// idleTime is for how long, at least, a goroutine has nothing to do before it ends; twice as
	// long at the most.
	idleTime = 5 * time.Second
)

// A Pool runs tasks, each on a goroutine that no other one uses meanwhile, and keeps the goroutines
// for later ones: their stacks have grown to what a task needs. The zero value is ready.
type Pool struct {
	mu     sync.Mutex
	idle   []chan Task // takes the next task of each, which ends when that is closed
	least  int         // so many, the first ones, have been idle since the last sweep
	timer  *time.Timer // of the next sweep; nil: there is none
	closed bool
}

// A Task is something that a Pool runs. Labels that it gives its goroutine go with it, and so does
// the goroutine if it calls runtime.Goexit.
type Task interface{ Run() }

// Run runs a task, without waiting for it. Its goroutine is counted in the tally as long as it
// lives.
func (p *Pool) Run(task Task, count *Tally) {
	p.mu.Lock()
	last := len(p.idle) - 1
	if last < 0 {
		p.mu.Unlock()
		count.Enter()
		go p.work(task, count)
		return
	}
	next := p.idle[last] // whose stack is likely to be in the caches still
	p.idle[last] = nil
	p.idle, p.least = p.idle[:last], min(p.least, last)
	p.mu.Unlock()
	next <- task
}

func (p *Pool) work(task Task, count *Tally) {
	defer count.Leave()
	next := make(chan Task, 1) // so that Run does not wait
	for task != nil {
		task.Run()
		pprof.SetGoroutineLabels(context.Background())
		if !p.keep(next) {
			return
		}
		task = <-next
	}
}

// keep notes that a goroutine is idle; false: it is not needed.
func (p *Pool) keep(next chan Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) == keepIdle {
		return false
	}
	p.idle = append(p.idle, next)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTime, p.sweep)
	}
	return true
}

// sweep ends the goroutines that have been idle since the last sweep.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(p.least)
	if p.least = len(p.idle); p.least > 0 {
		p.timer.Reset(idleTime)
	} else {
		p.timer = nil
	}
}

// Close ends the goroutines that are idle, and others once they are: no task comes any more.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.end(len(p.idle))
	p.least = 0
	if p.timer != nil {
		p.timer.Stop()
	}
}

// end ends the n goroutines that have been idle longest; p.mu is held.
func (p *Pool) end(n int) {
	for _, next := range p.idle[:n] {
		close(next)
	}
	p.idle = slices.Delete(p.idle, 0, n)
}
