package nodes

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
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

// lastWordsTime is how long a worker may take to say what became of it once its process, or the one
// that was to take its place, has ended.
const lastWordsTime = 2 * time.Second

// A WorkerUpgrade says what became of the upgrade of one worker.
type WorkerUpgrade struct {
	Slot     int
	Old, New int // process ids; New is 0 if the new process does not have the worker
	// why the old process goes on; or that it has ended, or that the new one has the worker and
	// does not answer
	Err error
}

// UpgradeWorkers replaces the process of each worker, one after the other, by a new one of
// FrontConfig.Command, which goes on with all that the old one has: other nodes, and the other
// workers, see a short silence. Each worker moves separately, and if that fails the old process
// goes on; so does one that is busy for longer than Config.DrainTimeout, or hangs. A worker that is
// just starting is waited for. The list says what became of each. When ctx ends no further move
// begins. The error is handoff.ErrBusy while the workers or the front are already being upgraded.
func (f *Front) UpgradeWorkers(ctx context.Context) ([]WorkerUpgrade, error) {
	if err := wait.TakesTime(ctx); err != nil {
		return nil, wrap("upgrade workers", f.Name(), err)
	}
	if err := f.occupy(); err != nil {
		return nil, wrap("upgrade workers", f.Name(), err)
	}
	defer f.vacate()
	f.mu.Lock()
	crew := f.bySlot()
	f.mu.Unlock()
	var list []WorkerUpgrade
	for _, w := range crew {
		u := WorkerUpgrade{Slot: w.slot, Old: w.process().PID}
		if u.Err = ctx.Err(); u.Err == nil {
			if u.Err = w.begins(ctx); u.Err == nil {
				u.New, u.Err = f.upgrade(w)
			}
		}
		if u.Err != nil {
			f.n.log.Error("worker not upgraded", "slot", u.Slot, "pid", u.Old, "error", u.Err)
		} else {
			f.n.log.Info("worker upgraded", "slot", u.Slot, "from", u.Old, "to", u.New)
		}
		list = append(list, u)
	}
	return list, nil
}

// begins waits until a worker that is just starting is ready. If it does not become ready, keepSlot
// kills and replaces it.
func (w *workerProcess) begins(ctx context.Context) error {
	t := time.NewTimer(w.f.cfg.workerStart)
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

// upgrade moves one worker to a new process. What the old and the new process wait for has time
// limits in both, so this comes to an end.
func (f *Front) upgrade(w *workerProcess) (pid int, err error) {
	next, ours, err := f.launchSuccessor(w)
	if err != nil {
		return 0, err
	}
	heard := make(chan talk.Message, 4)
	if err := f.awaitAllTaken(w, heard); err != nil {
		next.End()
		return 0, errors.Join(err, descriptor.Close(ours))
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if w.moving == heard {
			w.moving = nil
			f.change.Ring()
		}
	}()
	f.mu.Lock()
	w.moves++
	id := w.moves
	f.mu.Unlock()
	if !w.line.Say(&talk.Move{ID: id, FD: ours}) {
		next.End()
		return 0, errEnded
	}
	m, ok := outcome(w.process(), next, heard)
	if !ok { // the worker's line has ended; a new process that has not taken over ends by itself
		next.Retire(farewell + shutdownTime)
		return 0, errEnded
	}
	if stayed, ok := m.(*talk.Stayed); ok {
		next.End() // the old process has not handed the worker over, or has taken it back
		return 0, fmt.Errorf("%s (the new process: %s)", stayed.Why, next.Ended())
	}
	f.mu.Lock()
	ended := w.moving != heard
	old := w.proc
	if !ended {
		w.proc = next
		w.closeForward()                   // all sessions that went through it have been taken
		if err := w.reopen(); err != nil { // the next session that is pushed tries again
			f.n.log.Warn("no socket for sessions", "slot", w.slot, "error", err)
		}
		if m == nil {
			w.hang()
			err = errSilent
		}
		if f.ctx.Err() != nil { // only the old process was told to finish
			w.line.Say(&talk.Finish{})
		}
	}
	f.mu.Unlock()
	if ended {
		next.Retire(farewell + shutdownTime)
		return 0, errEnded
	}
	old.Retire(farewell + shutdownTime)
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

// errHangs: the worker has not been told to move.
var errHangs = errors.New("the worker does not answer, and goes on as it is")

// errSilent: the old process has ended after it handed the worker over, and the new one does not
// say that it has it.
var errSilent = errors.New("the new process has the worker, and does not answer")

// awaitAllTaken stops giving sessions to a worker, and waits until it has taken those that it was
// given. On success the worker counts as moving, and heard gets what it says of the move. A worker
// that hangs does not begin to move: its peers would have to wait for it.
func (f *Front) awaitAllTaken(w *workerProcess, heard chan talk.Message) error {
	answers := w.there(context.Background(), pinnedPatience*f.cfg.Patience)
	t := time.NewTimer(pinnedPatience * f.cfg.Patience)
	defer t.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !w.ready:
		return errEnded
	case !answers:
		return errHangs
	}
	w.moving = heard
	for w.burden() > 0 {
		change := f.change.Next()
		f.mu.Unlock()
		late := false
		select {
		case <-change:
		case <-t.C:
			late = true
		}
		f.mu.Lock()
		switch {
		case w.moving != heard:
			return errEnded
		case late:
			w.moving = nil
			f.change.Ring()
			return errors.New("the worker does not take its sessions")
		}
	}
	return nil
}

// launchSuccessor starts a process that is to take a worker's place, and waits until that process
// has said something; the worker serves meanwhile. It returns the process, and a descriptor of the
// front's end of the channel to that process, which the caller owns.
func (f *Front) launchSuccessor(w *workerProcess) (*process.Process, int, error) {
	ours, theirs, err := handoff.PacketPair()
	if err != nil {
		return nil, -1, err
	}
	channel, err := handoff.FileConn(ours)
	if err != nil {
		return nil, -1, errors.Join(err, ours.Close(), theirs.Close())
	}
	defer channel.Close()
	next, err := f.startSuccessor(theirs)
	_ = theirs.Close() // the process has its own, if it was started
	if err != nil {
		return nil, -1, err
	}
	fd := -1
	if err = f.awaitSuccessor(w, channel); err == nil {
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
func (f *Front) awaitSuccessor(w *workerProcess, channel *net.UnixConn) error {
	if err := channel.SetReadDeadline(time.Now().Add(f.cfg.workerStart)); err != nil {
		return err
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		select {
		case <-w.lost:
		case <-f.ctx.Done():
		case <-done:
			return
		}
		_ = channel.SetReadDeadline(time.Now())
	})
	err := descriptor.AwaitInput(channel)
	switch {
	case err == nil:
		return nil
	case f.ctx.Err() != nil:
		return ErrClosed
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
func (f *Front) startSuccessor(theirs *os.File) (*process.Process, error) {
	cmd := f.cfg.Command()
	at := process.PassFiles(cmd, theirs)
	cmd.Env = append(cmd.Environ(), WorkerVariable+"="+moveMark+strconv.Itoa(at))
	return process.Start(cmd)
}
