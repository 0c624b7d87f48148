package transport

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canPoll says that a reader can try again and again without the Go poller waking up beside it for every arrival.
const canPoll = true

// newWatch makes the place to wait for a plug-in's socket. Whoever never polls does with less.
func newWatch(fd int, polls bool) (watch, error) {
	if !polls {
		return plainWatch(fd)
	}
	w, err := newWatcher(fd)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// A watcher is a watch for readers that poll: an epoll descriptor of its own, which watches the plug-in's descriptor, and which the Go
// poller watches in turn. So it can be told to look away (quiet) while a reader tries by itself. Closing it ends the waits and waits for a running
// callback, and the plug-in's descriptor is closed only after that, so no reused number is ever read. Sending gets a second one when it has to
// wait for the first time.
type watcher struct {
	fd      int
	in, out direction
	reader  interest

	mu     sync.Mutex // guards the making of writer
	closed bool
	writer interest

	// The writer's first try, so that its closure is made once.
	first struct {
		ready func(uintptr) bool
		done  bool
		try   func(uintptr)
	}
}

// An interest is one epoll descriptor in the Go poller.
type interest struct {
	file   *os.File
	raw    syscall.RawConn
	epoll  int
	events uint32 // what it watches for now
}

func newWatcher(fd int) (*watcher, error) {
	w := &watcher{fd: fd}
	if err := w.reader.open(fd, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
		return nil, err
	}
	w.first.try = func(uintptr) { w.first.done = w.first.ready(0) }
	w.in = direction{w.reader.raw.Read, w.reader.file.SetReadDeadline}
	w.out = direction{w.parkWriter, w.writerDeadline}
	return w, nil
}

func (w *watcher) reading() *direction { return &w.in }
func (w *watcher) writing() *direction { return &w.out }

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
	if err := file.SetDeadline(time.Time{}); err != nil {
		file.Close()
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

// quiet tells the reader's epoll descriptor to look away, or to look again, and reports whether that was a change. It is the reader's, under the
// wait or between waits. Who has it look again must try once more before sleeping: the kernel does not wake the Go poller for what is there already where
// it still counts the socket among those that were ready before.
func (w *watcher) quiet(on bool) (changed bool) {
	if on == (w.reader.events == 0) {
		return false
	}
	var events uint32 = unix.EPOLLIN | unix.EPOLLRDHUP
	if on {
		events = 0
	}
	_ = w.reader.control(unix.EPOLL_CTL_MOD, w.fd, events)
	return true
}

// parkWriter is raw.Write, for one caller at a time: the first try needs no epoll descriptor.
func (w *watcher) parkWriter(ready func(uintptr) bool) error {
	w.mu.Lock()
	writer := w.writer.raw
	w.mu.Unlock()
	if writer == nil {
		w.first.ready = ready
		if err := w.reader.raw.Control(w.first.try); w.first.done || err != nil {
			return err
		}
		if err := w.needWriter(); err != nil {
			return err
		}
		writer = w.writer.raw
	}
	return writer.Read(ready)
}

func (w *watcher) needWriter() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return os.ErrClosed
	}
	if w.writer.raw != nil {
		return nil
	}
	return w.writer.open(w.fd, unix.EPOLLOUT)
}

func (w *watcher) writerDeadline(t time.Time) error {
	if err := w.needWriter(); err != nil {
		return err
	}
	return w.writer.file.SetReadDeadline(t)
}

func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	writer := w.writer.file
	w.mu.Unlock()
	if writer != nil {
		writer.Close()
	}
	w.reader.file.Close()
}

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *watcher) connected(ctx context.Context) error {
	done, result := connectResult(w.fd) // on the loopback it mostly has
	if done {
		return result
	}
	if isSingle(ctx) {
		return os.ErrDeadlineExceeded
	}
	if err := w.reader.control(unix.EPOLL_CTL_MOD, w.fd, unix.EPOLLOUT); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	err := awaitConnect(ctx, &w.in, func(uintptr) bool { done, result = connectResult(w.fd); return done })
	if err != nil {
		return err
	}
	if err := w.reader.control(unix.EPOLL_CTL_MOD, w.fd, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return result
}

// rawConn is the descriptor itself for others' use, safe against Close.
func (w *watcher) rawConn() syscall.RawConn { return watched{w} }

type watched struct{ w *watcher }

func (c watched) Control(f func(fd uintptr)) error {
	return c.w.reader.raw.Control(func(uintptr) { f(uintptr(c.w.fd)) })
}

func (c watched) Read(f func(fd uintptr) bool) error {
	return c.w.in.park(func(uintptr) bool {
		return f(uintptr(c.w.fd)) || c.w.quiet(false) && f(uintptr(c.w.fd))
	})
}

func (c watched) Write(f func(fd uintptr) bool) error {
	if err := c.w.needWriter(); err != nil {
		return err
	}
	return c.w.writer.raw.Read(func(uintptr) bool { return f(uintptr(c.w.fd)) })
}
