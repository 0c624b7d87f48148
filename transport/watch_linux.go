package transport

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canPoll says that a reader can try again and again, or wait on its own thread, without the Go poller waking up beside it for every
// arrival.
const canPoll = true

// newWatch makes the place to wait for a plug-in's socket. A duplicate of the descriptor is enough for a socket whose reader always sleeps;
// sure says that the descriptor can be waited on.
func newWatch(fd int, polls, sure bool) (watch, error) {
	if !polls {
		return plainWatch(fd)
	}
	w := newWatcher(fd)
	if sure || isSocket(fd) {
		return w, nil
	}
	_, err := w.need(&w.reader, arrivals)
	return w, err
}

// A watcher is a watch for readers that poll, sit (see seat), or wait for a short time: for each direction an epoll descriptor of its own,
// which watches the plug-in's descriptor, and which the Go poller watches in turn. It is made when somebody has to sleep there for the
// first time, so a connection that only shakes hands costs none; and it can be told to look away (lookAway) while nobody sleeps there.
// Closing it ends the waits and waits for running callbacks, and the plug-in's descriptor is closed only after that, so no reused number is
// ever read.
type watcher struct {
	fd      int
	in, out direction

	mu             sync.Mutex // guards all below
	reader, writer interest
	running        int // callbacks without the Go poller
	closed         bool
	left           chan struct{} // closed when the last of them is over; nil: nobody waits
}

// An interest is one epoll descriptor in the Go poller; the zero value is none yet.
type interest struct {
	file   *os.File
	raw    syscall.RawConn
	epoll  int
	events uint32 // what it watches for now

	until time.Time // the deadline; zero: there is none
	seat  *seat     // of the one who sits; nil: nobody does
	among *seats
	dozes chan struct{} // closed to wake who slumbers; nil: nobody does
}

func newWatcher(fd int) *watcher {
	w := &watcher{fd: fd}
	w.in.park, w.in.deadline = w.parkReader, w.readerDeadline
	w.out.park, w.out.deadline = w.parkWriter, w.writerDeadline
	return w
}

func (w *watcher) reading() *direction { return &w.in }
func (w *watcher) writing() *direction { return &w.out }

const (
	arrivals = unix.EPOLLIN | unix.EPOLLRDHUP
	room     = unix.EPOLLOUT
)

func (w *watcher) parkReader(ready func(uintptr) bool) error {
	return w.park(&w.reader, arrivals, ready)
}
func (w *watcher) parkWriter(ready func(uintptr) bool) error { return w.park(&w.writer, room, ready) }

func (w *watcher) readerDeadline(t time.Time) error { return w.deadline(&w.reader, t) }
func (w *watcher) writerDeadline(t time.Time) error { return w.deadline(&w.writer, t) }

// of is a direction's interest, and what it watches for.
func (w *watcher) of(writing bool) (*interest, uint32) {
	if writing {
		return &w.writer, room
	}
	return &w.reader, arrivals
}

// prepare makes what a direction sleeps with.
func (w *watcher) prepare(writing bool) error {
	_, err := w.need(w.of(writing))
	return err
}

// park is RawConn.Read of an interest, whose first try needs no epoll descriptor.
func (w *watcher) park(i *interest, events uint32, ready func(uintptr) bool) error {
	raw, err := w.begin(i)
	if err != nil {
		return err
	}
	if raw == nil {
		if w.finish(ready) {
			return nil
		}
		switch raw, err = w.need(i, events); {
		case exhausted(err):
			return w.glance(i, events, ready)
		case err != nil:
			return err
		}
	}
	return raw.Read(ready)
}

// glance is park where that is so: it tries from time to time, until it can sleep. A writer, or a reader that has been quick so far, may
// have to sleep for the first time long after its connection was made, and that is not to be its end.
func (w *watcher) glance(i *interest, events uint32, ready func(uintptr) bool) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		w.mu.Lock()
		until := i.until
		w.mu.Unlock()
		if !until.IsZero() && time.Until(until) <= 0 {
			return os.ErrDeadlineExceeded
		}
		w.slumber(i, pause, nil)
		raw, err := w.need(i, events)
		if err == nil {
			return raw.Read(ready)
		}
		if !exhausted(err) {
			return err
		}
		if _, err := w.begin(nil); err != nil {
			return err
		}
		if w.finish(ready) {
			return nil
		}
	}
}

// deadline ends the wait of a direction at a time, which may have passed. Where nobody has slept yet there is nothing to tell: who makes
// the epoll descriptor looks at until.
func (w *watcher) deadline(i *interest, t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i.until = t; !t.IsZero() {
		w.rouse(i)
	}
	switch {
	case w.closed:
		return os.ErrClosed
	case i.raw == nil:
		return nil
	}
	return i.file.SetReadDeadline(t)
}

// sit waits on a seat, as far as nobody wants the wait to end, and reports whether it was worth it. It is called under the wait.
func (w *watcher) sit(writing bool, at *seats) bool {
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
	if w.closed || !i.until.IsZero() && time.Until(i.until) < 2*sitsAtMost { // which nothing ends in time
		w.mu.Unlock()
		return false
	}
	i.seat, i.among = s, at
	w.mu.Unlock()
	came := s.wait(w.fd, events)
	w.mu.Lock()
	i.seat = nil
	w.mu.Unlock()
	return came
}

// doze lets the reader's goroutine sleep for so long, whatever comes, unless that is or becomes true (see stir). It is called under the wait.
func (w *watcher) doze(d time.Duration, unless *atomic.Bool) { w.slumber(&w.reader, d, unless) }

// slumber is a sleep of a direction without the Go poller, as far as nobody wants its wait to end. Who sets unless stirs behind that, so
// it is looked at once there is something to stir.
func (w *watcher) slumber(i *interest, d time.Duration, unless *atomic.Bool) {
	w.mu.Lock()
	if !i.until.IsZero() {
		d = min(d, time.Until(i.until))
	}
	if w.closed || d <= 0 || unless != nil && unless.Load() {
		w.mu.Unlock()
		return
	}
	stirred := make(chan struct{})
	i.dozes = stirred
	w.mu.Unlock()
	t := time.NewTimer(d)
	select {
	case <-t.C:
	case <-stirred:
		t.Stop()
	}
	w.mu.Lock()
	i.dozes = nil
	w.mu.Unlock()
}

// stir wakes the reader if it dozes.
func (w *watcher) stir() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reader.stir()
}

func (i *interest) stir() {
	if i.dozes != nil {
		close(i.dozes)
		i.dozes = nil
	}
}

// rouse ends the wait on a seat, and a slumber; w.mu is held.
func (w *watcher) rouse(i *interest) {
	if i.seat != nil {
		i.among.kick(i.seat)
	}
	i.stir()
}

// begin enters a callback; where i is in the Go poller, that guards it, and there is no end.
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

// finish makes one try and leaves the callback, also where the try ends its goroutine.
func (w *watcher) finish(ready func(uintptr) bool) (done bool) {
	defer w.end()
	return ready(0)
}

// need gives the interest to the Go poller, if that has not been done.
func (w *watcher) need(i *interest, events uint32) (syscall.RawConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.needLocked(i, events)
}

func (w *watcher) needLocked(i *interest, events uint32) (syscall.RawConn, error) {
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
		closeFD(epoll)
		if err == unix.EPERM {
			return contractError("GetFD", "descriptor %d cannot be waited on: it is no socket", fd)
		}
		return os.NewSyscallError("epoll_ctl", err)
	}
	if _, err := fcntlFD(epoll, unix.F_SETFL, unix.O_NONBLOCK); err != nil { // tells os.NewFile to give it to the poller
		closeFD(epoll)
		return os.NewSyscallError("fcntl O_NONBLOCK", err)
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	if err := file.SetDeadline(i.until); err != nil {
		file.Close()
		if errors.Is(err, os.ErrNoDeadline) { // the Go poller could not take it, and does not say why: for want of watches or memory
			return os.NewSyscallError("epoll_ctl", unix.ENOMEM)
		}
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return err
	}
	i.file, i.raw = file, raw
	return nil
}

// control changes what is watched for.
func (i *interest) control(op, fd int, events uint32) error {
	if events != 0 {
		events |= unix.EPOLLET
	}
	i.events = events
	return unix.EpollCtl(i.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// look has the epoll descriptor of a direction, if there is one, watch for what that waits for, and reports whether it did not before. It is
// the reader's, or the writer's, under the wait or between waits. Who has it look must try once more before sleeping: the kernel does not
// wake the Go poller for what is there already where it still counts the socket among those that were ready before.
func (w *watcher) look(writing bool) (changed bool) {
	_, events := w.of(writing)
	return w.watchFor(writing, events)
}

// lookAway has it watch for nothing, so that the Go poller does not wake up for what nobody sleeps for.
func (w *watcher) lookAway(writing bool) { w.watchFor(writing, 0) }

func (w *watcher) watchFor(writing bool, events uint32) (changed bool) {
	i, _ := w.of(writing)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || i.raw == nil || (events == 0) == (i.events == 0) {
		return false
	}
	_ = i.control(unix.EPOLL_CTL_MOD, w.fd, events)
	return true
}

func (w *watcher) close() {
	w.in.forget()
	w.out.forget()
	w.mu.Lock()
	w.closed = true
	w.rouse(&w.reader)
	w.rouse(&w.writer)
	var left chan struct{}
	if w.running > 0 {
		left = make(chan struct{})
		w.left = left
	}
	files := []*os.File{w.reader.file, w.writer.file} // a connect gives its own back beside this
	w.mu.Unlock()
	for _, f := range files {
		_ = f.Close() // ErrInvalid where there is none
	}
	if left != nil {
		<-left
	}
}

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *watcher) connected(ctx context.Context) (result error) {
	if _, err := w.begin(nil); err != nil {
		return err
	}
	done := false
	check := func(uintptr) bool { done, result = connectResult(w.fd); return done }
	if w.finish(check) { // on the loopback it mostly has
		return result
	}
	if IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	if _, err := w.need(&w.writer, room); err != nil {
		return err
	}
	defer w.dropWriter()
	w.look(true) // a write may have waited before
	if err := awaitConnect(ctx, &w.out, check); err != nil {
		return err
	}
	return result
}

// dropWriter gives back what a connect has been waited for with: mostly nobody has to wait for room for a long time.
func (w *watcher) dropWriter() {
	w.mu.Lock()
	file := w.writer.file
	w.writer = interest{until: w.writer.until}
	w.mu.Unlock()
	file.Close()
}

// rawConn is the descriptor itself for others' use, safe against Close.
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
