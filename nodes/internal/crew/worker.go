package crew

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/process"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

const (
	// A worker that ends is replaced after firstPause. The pause doubles, up to mostPause, as long
	// as the replacements soon end too.
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// A Worker is a worker as the front sees it.
type Worker struct {
	crew *Crew
	// the worker's place, 0 to Config.Count-1; a worker that replaces this one gets the same slot
	slot int
	// the worker's own, 1 to states.MaxPart, which it keeps when it moves to another process; in its
	// pids, and called Part in messages
	number int
	line   *talk.Line
	born   time.Time // when the worker's first process was started
	// closed when it has been taken off the crew, and its sessions and names are dropped
	lost chan struct{}
	gone chan struct{} // closed when the process has ended as well

	began chan struct{}             // closed when the worker is ready
	heard atomic.Pointer[time.Time] // when the worker last said something; nil: it never has

	// Guarded by crew.mu.
	proc *process.Process
	// takes what the worker says of its move to another process; nil: it does not move
	moving   chan talk.Message
	moves    uint64 // how often the worker has been told to move: the ID of the latest move
	ready    bool
	hangs    bool      // the worker did not answer, and has not been heard of since
	failed   time.Time // when a session that was given to the worker was last lost there
	sessions int
	forward  *bind10.Forwarder // nil: there is no socket for sessions just now
	socket   uint64            // the number of forward's socket
	// pushed sessions that the worker has not taken, by talk.ViaForwarder and talk.ViaLine; oldest
	// first
	untaken [2][]*session
	// probes that the worker has not answered, by ID; closed with the answer
	probes map[uint64]chan struct{}
	probed uint64 // the ID of the latest probe
}

// info describes the worker; the crew's mutex is held.
func (w *Worker) info() Info {
	return Info{Slot: w.slot, PID: w.proc.PID, Sessions: w.sessions}
}

// Info describes the worker; ready: it takes sessions.
func (w *Worker) Info() (i Info, ready bool) {
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	return w.info(), w.ready
}

// Say sends the worker a message, unless its line is closed; it never waits.
func (w *Worker) Say(m talk.Message) bool { return w.line.Say(m) }

// Forwarder is what gives sessions to the worker just now; nil: there is none.
func (w *Worker) Forwarder() *bind10.Forwarder {
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	return w.forward
}

// process is the worker's present process.
func (w *Worker) process() *process.Process {
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	return w.proc
}

// keepSlot keeps a worker in a slot until the front ends, and replaces one that ends; w, unless it
// is nil, is there already. start bounds the time until the first worker is ready, and first,
// unless it is nil, gets the outcome: if that worker does not become ready, keepSlot ends.
func (c *Crew) keepSlot(start context.Context, slot int, first chan<- error, w *Worker) {
	pause := firstPause
	for c.ctx.Err() == nil {
		var err error
		born, replaces := time.Now(), w == nil && first == nil
		if w == nil {
			w, err = c.launch(slot)
		} else {
			born = w.born
		}
		if err == nil {
			err = w.readyIn(start)
		}
		if err == nil && replaces { // the end of the one before was logged
			c.cfg.Log.Info("worker replaced", "slot", slot, "pid", w.process().PID)
		}
		if err == nil && first != nil {
			first <- nil
			first = nil
		}
		start = context.Background()
		if err != nil {
			// otherwise the front ends, or the worker goes on with another one
			if c.ctx.Err() == nil {
				c.cfg.Log.Error("no worker", "slot", slot, "error", err)
			}
			if first != nil {
				first <- err
				return
			}
		} else {
			<-w.gone
			if c.ctx.Err() == nil {
				c.cfg.Log.Error("worker ended", "slot", slot, "pid", w.process().PID, "state", w.process().Ended())
			}
		}
		w = nil
		if time.Since(born) > 2*mostPause {
			pause = firstPause
		}
		_ = wait.Sleep(c.ctx, pause)
		pause = min(2*pause, mostPause)
	}
}

// readyIn waits until the worker is ready. It kills a worker that is not ready in time, or before
// start ends.
func (w *Worker) readyIn(start context.Context) error {
	t := time.NewTimer(w.crew.cfg.Start)
	defer t.Stop()
	select {
	case <-w.began:
		return nil
	case <-w.gone:
		return fmt.Errorf("the worker ended before it was ready: %s", w.process().Ended())
	case <-start.Done():
	case <-t.C:
	}
	w.process().Kill()
	<-w.gone
	if errors.Is(start.Err(), context.Canceled) {
		return fmt.Errorf("the start was given up: %w", context.Cause(start))
	}
	return errors.New("the worker was not ready in time")
}

// launch starts a worker's process, and introduces it to the others.
func (c *Crew) launch(slot int) (*Worker, error) {
	select {
	case c.hiring <- struct{}{}:
		defer func() { <-c.hiring }()
	case <-c.ctx.Done():
		return nil, c.cfg.Closed
	}
	w := c.worker(slot)
	ours, theirs, err := handoff.PacketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	lineConn, err := handoff.FileConn(ours)
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	forward, sessions, err := newForwarder()
	if err != nil {
		return nil, errors.Join(err, lineConn.Close())
	}
	defer descriptor.Close(sessions)
	w.forward = forward
	sessionsFile, err := descriptor.FileOf(sessions)
	if err != nil {
		return nil, errors.Join(err, lineConn.Close(), forward.Close())
	}
	defer sessionsFile.Close()
	cmd := c.cfg.Command()
	at := process.PassFiles(cmd, theirs, sessionsFile)
	cmd.Env = append(cmd.Environ(), c.cfg.Variable+"="+strconv.Itoa(at)+","+strconv.Itoa(at+1))
	if w.line, err = talk.New(lineConn); err != nil {
		return nil, errors.Join(err, lineConn.Close(), forward.Close())
	}
	if w.proc, err = process.Start(cmd); err == nil {
		if err = c.introduce(w); err == nil {
			c.wg.Go(w.attend)
			return w, nil
		}
		w.proc.End()
	}
	w.line.Close()
	<-w.line.Wrote()
	return nil, errors.Join(err, forward.Close())
}

// worker makes a Worker that has nothing but its slot.
func (c *Crew) worker(slot int) *Worker {
	return &Worker{crew: c, slot: slot, born: time.Now(), lost: make(chan struct{}), gone: make(chan struct{}), began: make(chan struct{}),
		probes: map[uint64]chan struct{}{}}
}

// introduce gives a new worker its number, and connects it with every other worker.
func (c *Crew) introduce(w *Worker) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for { // the next number that no worker has
		c.lastPart = c.lastPart%states.MaxPart + 1
		if c.workers[c.lastPart] == nil {
			break
		}
	}
	w.number = c.lastPart
	fd := 0
	if c.nameTable != nil {
		var err error
		if fd, err = descriptor.Duplicate(c.nameTable.Descriptor()); err != nil {
			return err
		}
	}
	w.Say(&talk.Welcome{Name: c.cfg.Node.Name(), Creation: c.cfg.Node.Creation(), Part: w.number, FD: fd})
	w.tellPublished()
	for _, other := range c.workers {
		if err := c.pair(w, other); err != nil {
			c.sayGone(w)
			return err
		}
	}
	if c.ctx.Err() != nil {
		return c.cfg.Closed
	}
	c.workers[w.number] = w
	return nil
}

// pair connects two workers with each other, and tells them the newest worker's number; c.mu is
// held.
func (c *Crew) pair(a, b *Worker) error {
	one, two, err := descriptor.StreamPair()
	if err != nil {
		return err
	}
	newest := uint64(c.lastPart)
	a.Say(&talk.WorkerLink{Part: b.number, Newest: newest, FD: one})
	b.Say(&talk.WorkerLink{Part: a.number, Newest: newest, FD: two})
	return nil
}

// attend takes what a worker says until its line has ended, and then discharges it.
func (w *Worker) attend() {
	defer close(w.gone)
	_ = w.line.Read(w.take)
	w.line.Close()
	<-w.line.Wrote()
	proc, goesOn := w.crew.discharge(w)
	if goesOn {
		proc.Release()
		return
	}
	proc.Retire(w.crew.cfg.Retire) // the process may have closed the line and not have ended
}

// discharge takes a worker whose line has ended off the crew, and drops its sessions, routes and
// names. goesOn: its process goes on, with another front.
func (c *Crew) discharge(w *Worker) (proc *process.Process, goesOn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(w.lost)
	delete(c.workers, w.number)
	w.ready = false
	if w.moving != nil {
		close(w.moving)
		w.moving = nil
	}
	for _, list := range w.untaken {
		for _, s := range list {
			if s.timer != nil {
				s.timer.Stop()
			}
			if !s.withdrawn {
				// the worker's own descriptor has gone with the worker, or another front has one
				_ = s.s.Release()
			}
		}
	}
	w.untaken = [2][]*session{}
	w.closeForward()
	for _, c := range w.probes {
		close(c)
	}
	w.probes = map[uint64]chan struct{}{}
	if c.released {
		return w.proc, true
	}
	for name, r := range c.routes {
		if r.lose(w); len(r.held) == 0 {
			delete(c.routes, name)
		}
	}
	for name, t := range c.names {
		if t.w == w {
			c.forget(name)
		}
	}
	c.sayGone(w)
	c.change.Ring()
	return w.proc, false
}

// sayGone tells the other workers that w has ended: a worker that waits for w to give it a way to a
// peer asks the front again, and one that waits for its connection to w gives up; c.mu is held.
func (c *Crew) sayGone(w *Worker) {
	for _, other := range c.workers {
		if other != w {
			other.Say(&talk.NoConn{Part: w.number})
		}
	}
}

// dismiss ends the worker by closing the line, and by force if it has not ended in time;
// c.mu is held.
func (w *Worker) dismiss() {
	w.line.Close()
	t := time.AfterFunc(w.crew.cfg.Farewell, w.proc.Kill)
	w.crew.wg.Go(func() { <-w.gone; t.Stop() })
}
