package await

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// CanPoll says that a reader can poll, or wait on its own thread, without every arrival waking the
// Go poller as well.
const CanPoll = true

// newWatch makes the watch for a plug-in's socket. polls says that its reader may poll: for one
// that always sleeps, a duplicate of the descriptor is enough. sure says that the descriptor is
// known to be one that can be waited on.
func newWatch(fd int, p *Policy, polls, sure bool) (watch, error) {
	if !polls {
		return plainWatch(fd)
	}
	w := newWatcher(fd, &p.rests)
	if sure || sys.IsSocket(fd) {
		return w, nil
	}
	_, err := w.need(&w.reader, arrivals)
	return w, err
}

// A watcher is a watch for readers that poll, or wait on their own thread (see threadWait). For
// each direction it has an epoll descriptor, which watches the plug-in's descriptor, and which the
// Go poller watches in turn. An epoll descriptor is made when its direction has to sleep for the
// first time, so a connection that only shakes hands costs none; that of a reader is closed when
// the reader sleeps for long (see rests); and it can be told to look away (lookAway) while the
// direction does not sleep. Closing the watcher ends the waits and waits for
// running callbacks, and the plug-in's descriptor is closed only after that, so no reused number is
// ever read.
type watcher struct {
	fd      int
	in, out direction

	rests *rests
	long  atomic.Bool // the reader's last sleep was long
	came  atomic.Bool // something has come for the reader that rests

	mu             sync.Mutex // guards all below
	reader, writer interest
	running        int // callbacks that the Go poller does not guard, see begin
	closed         bool
	// Closed when the last of them is over; nil: close does not wait for them.
	left chan struct{}
}

// An interest is one epoll descriptor in the Go poller; the zero value is none yet.
type interest struct {
	file   *os.File
	raw    syscall.RawConn
	epoll  int
	events uint32 // what it watches for now

	fresh  bool // the reader has gone to sleep since rests has looked last
	leaves bool // the reader is to give it up

	halted bool          // waits are to end
	thread *threadWait   // in which the direction waits; nil: in none
	among  *threadWaits  // those that thread belongs to
	pauses chan struct{} // closed to end a sleepFor; nil: there is none
}

func newWatcher(fd int, r *rests) *watcher {
	w := &watcher{fd: fd, rests: r}
	w.in.at, w.out.at, w.out.writes = w, w, true
	return w
}

func (w *watcher) reading() *direction { return &w.in }
func (w *watcher) writing() *direction { return &w.out }

const (
	arrivals = unix.EPOLLIN | unix.EPOLLRDHUP
	room     = unix.EPOLLOUT
)

// of returns a direction's interest, and the events that the direction waits for.
func (w *watcher) of(writing bool) (*interest, uint32) {
	if writing {
		return &w.writer, room
	}
	return &w.reader, arrivals
}

// prepare makes the epoll descriptor with which a direction sleeps.
func (w *watcher) prepare(writing bool) error {
	_, err := w.need(w.of(writing))
	return err
}

// restFirst has the reader sleep for the first time as one that has slept for long. Connections
// come from another process by thousands, most of them idle.
func (w *watcher) restFirst() error {
	w.long.Store(true)
	return w.rests.arm(w)
}

// park is like RawConn.Read, for a direction; its first try needs no epoll descriptor.
func (w *watcher) park(writing bool, ready func(uintptr) bool) error {
	i, events := w.of(writing)
	for {
		raw, err := w.begin(i)
		if err != nil {
			return err
		}
		if raw == nil {
			if w.finish(ready) {
				return nil
			}
			if !writing && w.long.Load() {
				if done, err := w.rest(ready); done || err != nil {
					return err
				}
			}
			switch raw, err = w.need(i, events); {
			case Exhausted(err):
				if done, err := w.lookAgain(i, events, ready); done || err != nil {
					return err
				}
				continue
			case err != nil:
				return err
			}
		}
		if err := raw.Read(ready); err == nil || writing || !w.gaveUp() {
			return err
		}
	}
}

// giveUp ends the reader's sleep if it is a long one, so that it goes on in rest.
func (w *watcher) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := &w.reader
	switch {
	case i.raw == nil || w.closed:
	case i.fresh:
		i.fresh = false
	case !i.leaves:
		i.leaves = true
		_ = i.file.SetReadDeadline(Past)
	}
}

// gaveUp closes the reader's epoll descriptor if it is to be given up: the wait that has just ended
// goes on without it.
func (w *watcher) gaveUp() bool {
	w.mu.Lock()
	if !w.reader.leaves || w.closed {
		w.mu.Unlock()
		return false
	}
	file := w.reader.file
	w.reader = interest{halted: w.reader.halted}
	w.mu.Unlock()
	file.Close()
	w.rests.hasNot(w)
	w.long.Store(true)
	return true
}

// rest is park for a reader that sleeps for long; not done, without an error: it is to sleep with
// an epoll descriptor of its own.
func (w *watcher) rest(ready func(uintptr) bool) (done bool, err error) {
	for {
		w.came.Store(false)
		if _, err := w.begin(nil); err != nil {
			return false, err
		}
		err := w.rests.arm(w)
		w.end()
		if err != nil {
			return false, nil // which has this error, too, if it is one of want
		}
		began := time.Now()
		w.sleepFor(&w.reader, patience.Infinite, &w.came)
		if err := w.over(&w.reader); err != nil {
			w.rests.forget(w)
			return false, err
		}
		if time.Since(began) < restsAfter {
			w.long.Store(false)
			w.rests.forget(w)
		}
		if _, err := w.begin(nil); err != nil {
			return false, err
		}
		if w.finish(ready) {
			return true, nil
		}
		if !w.long.Load() {
			return false, nil
		}
	}
}

// lookAgain is park while no epoll descriptor can be had: it tries from time to time, until it can
// sleep. A writer, or a reader whose waits have all been short so far, may have to sleep for the
// first time long after its connection was made, and that must not end the connection.
func (w *watcher) lookAgain(i *interest, events uint32, ready func(uintptr) bool) (done bool, err error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if err := w.over(i); err != nil {
			return false, err
		}
		w.sleepFor(i, pause, nil)
		if _, err := w.need(i, events); !Exhausted(err) {
			return false, err
		}
		if _, err := w.begin(nil); err != nil {
			return false, err
		}
		if w.finish(ready) {
			return true, nil
		}
	}
}

// over is the reason why a direction must not wait.
func (w *watcher) over(i *interest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return os.ErrClosed
	case i.halted:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// halt ends the wait of a direction, and those to come, or permits waits again. If the direction
// has not slept yet, the Go poller need not be told: open does so when it makes the epoll
// descriptor.
func (w *watcher) halt(writing, on bool) error {
	i, _ := w.of(writing)
	w.mu.Lock()
	defer w.mu.Unlock()
	if i.halted = on; on {
		w.interrupt(i)
	}
	switch {
	case w.closed:
		return os.ErrClosed
	case i.raw == nil || i.leaves:
		return nil
	}
	return i.file.SetReadDeadline(haltAt(on))
}

// block waits on the calling thread, unless the wait is to end, and reports whether something came.
// It is called inside park.
func (w *watcher) block(writing bool, at *threadWaits) bool {
	i, events := &w.reader, int16(pollArrivals)
	if writing {
		i, events = &w.writer, pollRoom
	}
	s := at.take()
	if s == nil {
		return false
	}
	defer at.leave(s)
	w.mu.Lock()
	if w.closed || i.halted {
		w.mu.Unlock()
		return false
	}
	i.thread, i.among = s, at
	w.mu.Unlock()
	came := s.wait(w.fd, events)
	w.mu.Lock()
	i.thread = nil
	w.mu.Unlock()
	return came
}

// pause lets the reader's goroutine sleep for d, whatever comes, unless *unless is or becomes true
// (see wake). It is called inside park.
func (w *watcher) pause(d time.Duration, unless *atomic.Bool) { w.sleepFor(&w.reader, d, unless) }

// sleepFor lets a direction sleep without the Go poller for d, unless its wait is to end. Whoever
// sets *unless calls wake afterwards. Both lock w.mu: either sleepFor sees the new value, or wake
// sees the sleepFor.
func (w *watcher) sleepFor(i *interest, d time.Duration, unless *atomic.Bool) {
	w.mu.Lock()
	if w.closed || i.halted || unless != nil && unless.Load() {
		w.mu.Unlock()
		return
	}
	woken := make(chan struct{})
	i.pauses = woken
	w.mu.Unlock()
	fires, stop := patience.Expiry(d)
	select {
	case <-fires:
	case <-woken:
	}
	stop()
	w.mu.Lock()
	i.pauses = nil
	w.mu.Unlock()
}

// wake wakes the reader if it pauses.
func (w *watcher) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reader.wake()
}

func (i *interest) wake() {
	if i.pauses != nil {
		close(i.pauses)
		i.pauses = nil
	}
}

// interrupt ends the wait on a thread, and a sleepFor; w.mu is held.
func (w *watcher) interrupt(i *interest) {
	if i.thread != nil {
		i.among.interrupt(i.thread)
	}
	i.wake()
}

// begin enters a callback, which end leaves. If i is in the Go poller, begin returns its RawConn
// instead, which guards the callback by itself: end must not be called then.
func (w *watcher) begin(i *interest) (syscall.RawConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, os.ErrClosed
	case i != nil && i.raw != nil:
		return i.raw, nil
	}
	w.running++
	return nil, nil
}

func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running--; w.running == 0 && w.left != nil {
		close(w.left)
	}
}

// finish makes one try and leaves the callback, even if the try ends its goroutine.
func (w *watcher) finish(ready func(uintptr) bool) (done bool) {
	defer w.end()
	return ready(0)
}

// need gives the interest to the Go poller, unless it is there already.
func (w *watcher) need(i *interest, events uint32) (syscall.RawConn, error) {
	reads := i == &w.reader
	if reads {
		w.rests.has(w)
	}
	raw, err := w.open(i, events)
	if err != nil && reads {
		w.rests.hasNot(w)
	}
	return raw, err
}

func (w *watcher) open(i *interest, events uint32) (syscall.RawConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, os.ErrClosed
	case i.raw != nil:
		return i.raw, nil
	}
	err := i.open(w.fd, events)
	return i.raw, err
}

func (i *interest) open(fd int, events uint32) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	i.epoll = epoll
	if err := i.control(unix.EPOLL_CTL_ADD, fd, events); err != nil {
		sys.Close(epoll)
		if err == unix.EPERM {
			return &NotWaitableError{fd, "cannot be waited on: it is no socket"}
		}
		return os.NewSyscallError("epoll_ctl", err)
	}
	i.file, i.raw, err = toPoller(epoll, i.halted)
	return err
}

// toPoller gives an epoll descriptor to the Go poller; after an error it is closed.
func toPoller(epoll int, halted bool) (*os.File, syscall.RawConn, error) {
	// Tells os.NewFile to give it to the poller.
	if _, err := sys.Fcntl(epoll, unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		sys.Close(epoll)
		return nil, nil, os.NewSyscallError("fcntl O_NONBLOCK", err)
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	err := file.SetDeadline(haltAt(halted))
	var raw syscall.RawConn
	if err == nil {
		raw, err = file.SyscallConn()
	} else if errors.Is(err, os.ErrNoDeadline) {
		// The Go poller could not take it, and does not say why: for want of watches or memory.
		err = os.NewSyscallError("epoll_ctl", unix.ENOMEM)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, raw, nil
}

// control changes what is watched for.
func (i *interest) control(op, fd int, events uint32) error {
	if events != 0 {
		events |= unix.EPOLLET
	}
	i.events = events
	return unix.EpollCtl(i.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// look makes the epoll descriptor of a direction, if there is one, watch for what the direction
// waits for, and reports whether it did not watch before. Only the direction's reader or writer
// calls look, inside park or between waits. After a true the caller must try once more before it
// sleeps: the kernel does not wake the Go poller for what is there already, if it still counts the
// socket among the ready ones.
func (w *watcher) look(writing bool) (changed bool) {
	_, events := w.of(writing)
	return w.watchFor(writing, events)
}

// lookAway makes it watch for nothing, so that the Go poller does not wake up while nobody sleeps
// in that direction.
func (w *watcher) lookAway(writing bool) { w.watchFor(writing, 0) }

func (w *watcher) watchFor(writing bool, events uint32) (changed bool) {
	i, _ := w.of(writing)
	w.mu.Lock()
	defer w.mu.Unlock()
	i.fresh = events != 0
	if w.closed || i.raw == nil || (events == 0) == (i.events == 0) {
		return false
	}
	_ = i.control(unix.EPOLL_CTL_MOD, w.fd, events)
	return true
}

// forgetRest has the reader rest no more. The descriptor of the last one that has rested is closed
// then.
func (w *watcher) forgetRest() {
	if over := w.rests.forget(w); over != nil {
		<-over
	}
}

func (w *watcher) close() {
	defer w.rests.hasNot(w)
	defer w.forgetRest()
	w.in.forget()
	w.out.forget()
	w.mu.Lock()
	w.closed = true
	w.interrupt(&w.reader)
	w.interrupt(&w.writer)
	var left chan struct{}
	if w.running > 0 {
		left = make(chan struct{})
		w.left = left
	}
	// Read under w.mu: dropWriter may run at the same time.
	files := []*os.File{w.reader.file, w.writer.file}
	w.mu.Unlock()
	for _, f := range files {
		_ = f.Close() // ErrInvalid if it is nil
	}
	if left != nil {
		<-left
	}
}

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *watcher) connected(ctx context.Context) error {
	if _, err := w.begin(nil); err != nil {
		return err
	}
	done, result := sys.ConnectResult(w.fd)
	w.end()
	switch {
	case done: // as mostly on the loopback
		return result
	case patience.IsNoWait(ctx):
		return os.ErrDeadlineExceeded
	}
	return w.awaitConnected(ctx)
}

func (w *watcher) awaitConnected(ctx context.Context) (result error) {
	if _, err := w.need(&w.writer, room); err != nil {
		return err
	}
	defer w.dropWriter()
	w.look(true) // a write that waited before may have made it look away
	check := func(uintptr) (done bool) { done, result = sys.ConnectResult(w.fd); return done }
	if err := w.out.parkUnder(ctx, check); err != nil {
		return err
	}
	return result
}

// dropWriter closes the epoll descriptor with which a connect was waited for: it is mostly long
// before a writer has to wait for room.
func (w *watcher) dropWriter() {
	w.mu.Lock()
	file := w.writer.file
	w.writer = interest{halted: w.writer.halted}
	w.mu.Unlock()
	file.Close()
}

// rawConn gives others access to the descriptor itself, safe against Close.
func (w *watcher) rawConn() syscall.RawConn { return watched{w} }

type watched struct{ w *watcher }

func (c watched) Control(f func(fd uintptr)) error {
	if _, err := c.w.begin(nil); err != nil {
		return err
	}
	defer c.w.end()
	f(uintptr(c.w.fd))
	return nil
}

func (c watched) Read(f func(fd uintptr) bool) error {
	return c.w.in.park(func(uintptr) bool {
		return f(uintptr(c.w.fd)) || c.w.look(false) && f(uintptr(c.w.fd))
	})
}

func (c watched) Write(f func(fd uintptr) bool) error {
	return c.w.out.park(func(uintptr) bool {
		return f(uintptr(c.w.fd)) || c.w.look(true) && f(uintptr(c.w.fd))
	})
}
