package crew

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/process"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// lastWordsTime is how long a worker may take to say what became of it once its process, or the one
// that was to take its place, has ended.
const lastWordsTime = 2 * time.Second

// An Upgrade says what became of the upgrade of one worker.
type Upgrade struct {
	Slot     int
	Old, New int // process ids; New is 0 if the new process does not have the worker
	// why the old process goes on; or that it has ended, or that the new one has the worker and
	// does not answer, or has ended since
	Err error
}

// Upgrade replaces the process of each worker, one after the other, by a new one, which goes on
// with all that the old one has. Each worker moves separately, and if that fails the old process
// goes on. A worker that is just starting is waited for. When ctx ends no further move begins. At
// the end those that have moved are asked whether they are there: a new process may have died while
// others still moved. The crew must be occupied.
func (c *Crew) Upgrade(ctx context.Context) (list []Upgrade) {
	all := c.Workers()
	for _, w := range all {
		u := Upgrade{Slot: w.slot, Old: w.process().PID}
		if u.Err = ctx.Err(); u.Err == nil {
			if u.Err = w.begins(ctx); u.Err == nil {
				u.New, u.Err = w.Upgrade()
			}
		}
		if u.Err != nil {
			c.cfg.Log.Error("worker not upgraded", "slot", u.Slot, "pid", u.Old, "error", u.Err)
		} else {
			c.cfg.Log.Info("worker upgraded", "slot", u.Slot, "from", u.Old, "to", u.New)
		}
		list = append(list, u)
	}
	for i, w := range all {
		u := &list[i]
		if u.Err != nil {
			continue
		}
		if u.Err = w.goesOn(u.New); u.Err != nil {
			c.cfg.Log.Error("worker upgraded in vain", "slot", u.Slot, "from", u.Old, "to", u.New, "error", u.Err)
		}
		if u.Err != nil && !errors.Is(u.Err, ErrSilent) {
			u.New = 0
		}
	}
	return list
}

// goesOn tells what is wrong with a worker that has moved to a process: nil if it answers, or is
// told to finish.
func (w *Worker) goesOn(pid int) error {
	c := w.crew
	answers := w.answers(context.Background(), pinnedPatience*c.cfg.Patience)
	if answers || c.ctx.Err() != nil {
		return nil
	}
	select {
	case <-w.lost:
		<-w.gone
		return fmt.Errorf("its new process (%d) had it, and has ended (%s): a new worker takes its place", pid, w.process().Ended())
	default:
		return ErrSilent
	}
}

// begins waits until a worker that is just starting is ready. If it does not become ready, keepSlot
// kills and replaces it.
func (w *Worker) begins(ctx context.Context) error {
	t := time.NewTimer(w.crew.cfg.Start)
	defer t.Stop()
	select {
	case <-w.began:
		return nil
	case <-w.lost:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errors.New("the worker is not ready")
	}
}

// Upgrade moves the worker to a new process. What the old and the new process wait for has time
// limits in both, so this comes to an end.
func (w *Worker) Upgrade() (pid int, err error) {
	c := w.crew
	c.mu.Lock()
	if c.workers[w.number] != w {
		c.mu.Unlock()
		return 0, errEnded
	}
	c.wg.Add(1) // the front does not end before both processes have: with it they would be killed
	c.mu.Unlock()
	defer c.wg.Done()
	next, ours, err := c.launchSuccessor(w)
	if err != nil {
		return 0, err
	}
	heard := make(chan talk.Message, 4)
	if err := c.awaitAllTaken(w, heard); err != nil {
		next.End()
		return 0, errors.Join(err, descriptor.Close(ours))
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if w.moving == heard {
			w.moving = nil
			c.change.Ring()
		}
	}()
	c.mu.Lock()
	w.moves++
	id := w.moves
	c.mu.Unlock()
	if !w.Say(&talk.Move{ID: id, FD: ours}) {
		next.End()
		return 0, errEnded
	}
	m, ok := outcome(w.process(), next, heard)
	if !ok { // the worker's line has ended; a new process that has not taken over ends by itself
		next.Retire(c.cfg.Retire)
		return 0, errEnded
	}
	if stayed, ok := m.(*talk.Stayed); ok {
		next.End() // the old process has not handed the worker over, or has taken it back
		return 0, fmt.Errorf("%s (the new process: %s)", stayed.Why, next.Ended())
	}
	c.mu.Lock()
	ended := w.moving != heard
	old := w.proc
	if !ended {
		w.proc = next
		w.closeForward()                   // all sessions that went through it have been taken
		if err := w.reopen(); err != nil { // the next session that is pushed tries again
			c.cfg.Log.Warn("no socket for sessions", "slot", w.slot, "error", err)
		}
		if m == nil {
			w.hang()
			err = ErrSilent
		}
		if c.ctx.Err() != nil { // only the old process was told to finish
			w.Say(&talk.Finish{})
		}
	}
	c.mu.Unlock()
	if ended {
		next.Retire(c.cfg.Retire)
		return 0, errEnded
	}
	old.Retire(c.cfg.Retire)
	return next.PID, err
}

// outcome waits until a worker that has been told to move says moved or stayed. If one of its two
// processes has ended and nothing is said for lastWordsTime, the outcome is stayed if the new
// process has ended, and otherwise nil: the new process has the worker, and is silent. ok
// is false when the worker's line has ended.
func outcome(old, next *process.Process, heard <-chan talk.Message) (m talk.Message, ok bool) {
	select {
	case m, ok = <-heard:
		return m, ok
	case <-next.Exited:
	// it has handed the worker over, and was done or did not wait for the new one any longer
	case <-old.Exited:
	}
	t := time.NewTimer(lastWordsTime)
	defer t.Stop()
	select {
	case m, ok = <-heard:
		return m, ok
	case <-t.C:
	}
	select {
	case <-next.Exited:
		return &talk.Stayed{Why: "it does not answer, and goes on as it is"}, true
	default:
		return nil, true
	}
}

// errEnded: neither process goes on as this worker; the worker that replaces it in its slot starts
// with nothing.
var errEnded = errors.New("the worker has ended, and is replaced")

// ErrHangs: the worker has not been told to move.
var ErrHangs = errors.New("the worker does not answer, and goes on as it is")

// ErrSilent: the old process has ended after it handed the worker over, and the new one does not
// say that it has it.
var ErrSilent = errors.New("the new process has the worker, and does not answer")

// awaitAllTaken stops giving sessions to a worker, and waits until it has taken those that it was
// given. On success the worker counts as moving, and heard gets what it says of the move. A worker
// that hangs does not begin to move: its peers would have to wait for it.
func (c *Crew) awaitAllTaken(w *Worker, heard chan talk.Message) error {
	answers := w.there(context.Background(), pinnedPatience*c.cfg.Patience)
	t := time.NewTimer(pinnedPatience * c.cfg.Patience)
	defer t.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !w.ready:
		return errEnded
	case !answers:
		return ErrHangs
	}
	w.moving = heard
	for w.burden() > 0 {
		change := c.change.Next()
		c.mu.Unlock()
		late := false
		select {
		case <-change:
		case <-t.C:
			late = true
		}
		c.mu.Lock()
		switch {
		case w.moving != heard:
			return errEnded
		case late:
			w.moving = nil
			c.change.Ring()
			return errors.New("the worker does not take its sessions")
		}
	}
	return nil
}

// launchSuccessor starts a process that is to take a worker's place, and waits until that process
// has said something; the worker serves meanwhile. It returns the process, and a descriptor of the
// front's end of the channel to that process, which the caller owns.
func (c *Crew) launchSuccessor(w *Worker) (*process.Process, int, error) {
	ours, theirs, err := handoff.PacketPair()
	if err != nil {
		return nil, -1, err
	}
	channel, err := handoff.FileConn(ours)
	if err != nil {
		return nil, -1, errors.Join(err, ours.Close(), theirs.Close())
	}
	defer channel.Close()
	next, err := c.startSuccessor(theirs)
	_ = theirs.Close() // the process has its own, if it was started
	if err != nil {
		return nil, -1, err
	}
	fd := -1
	if err = c.awaitSuccessor(w, channel); err == nil {
		err = handoff.Lend(func(fds []int) (err error) { fd, err = descriptor.Duplicate(fds[0]); return err }, channel)
	}
	if err != nil {
		next.End()
		return nil, -1, fmt.Errorf("%w (the new process: %s)", err, next.Ended())
	}
	return next, fd, nil
}

// awaitSuccessor waits until a process that is to take a worker's place has said something, or
// ended.
func (c *Crew) awaitSuccessor(w *Worker, channel *net.UnixConn) error {
	if err := channel.SetReadDeadline(time.Now().Add(c.cfg.Start)); err != nil {
		return err
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		select {
		case <-w.lost:
		case <-c.ctx.Done():
		case <-done:
			return
		}
		_ = channel.SetReadDeadline(time.Now())
	})
	err := descriptor.AwaitInput(channel)
	switch {
	case err == nil:
		return nil
	case c.ctx.Err() != nil:
		return c.cfg.Closed
	}
	select {
	case <-w.lost:
		return errEnded
	default:
		return fmt.Errorf("the new process was not there in time: %w", err)
	}
}

// startSuccessor starts a process that is to take a worker's place. The process inherits theirs,
// its end of the channel.
func (c *Crew) startSuccessor(theirs *os.File) (*process.Process, error) {
	cmd := c.cfg.Command()
	at := process.PassFiles(cmd, theirs)
	cmd.Env = append(cmd.Environ(), c.cfg.Variable+"="+talk.MoveMark+strconv.Itoa(at))
	return process.Start(cmd)
}
