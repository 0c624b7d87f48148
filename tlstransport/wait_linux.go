package tlstransport

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canPoll says that a reader can try again and again without the Go poller waking up beside it for every arrival.
const canPoll = true

// A place is where a wire waits: an epoll descriptor for what comes, which watches the socket and which the Go poller watches in turn, so
// that it can look away while a reader tries by itself. Sending gets another one when it has to wait for the first time. It owns the
// socket.
type place struct {
	sock   int
	reader watched

	mu     sync.Mutex // guards the making of writer
	writer watched
	closed bool
}

// A watched is one epoll descriptor in the Go poller.
type watched struct {
	file  *os.File
	raw   syscall.RawConn
	epoll int
	away  bool // what comes does not wake the Go poller at present
}

const (
	eventsIn  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	eventsOut = unix.EPOLLOUT | unix.EPOLLET&0xffffffff
)

func newPlace(sock int) (*place, error) {
	p := &place{sock: sock}
	return p, p.reader.open(sock, eventsIn)
}

func (w *watched) open(sock int, events uint32) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, sock, &unix.EpollEvent{Events: events, Fd: int32(sock)})
	if err == nil {
		err = unix.SetNonblock(epoll, true) // tells os.NewFile to give it to the poller
	}
	if err != nil {
		return errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(epoll))
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrNoDeadline) { // the Go poller could not take it, and does not say why: for want of watches or memory
		err = os.NewSyscallError("epoll_ctl", unix.ENOMEM)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w.epoll, w.file, w.raw = epoll, file, raw
	return nil
}

// awaitRead calls try whenever something may have come, until it is true or the deadline has passed.
func (p *place) awaitRead(try func(uintptr) bool) error { return p.reader.raw.Read(try) }

// awaitWrite is the same for room; needWriter comes first.
func (p *place) awaitWrite(try func(uintptr) bool) error { return p.writer.raw.Read(try) }

func (p *place) needWriter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return os.ErrClosed
	case p.writer.raw != nil:
		return nil
	}
	return p.writer.open(p.sock, eventsOut)
}

// dropWriter frees what awaitWrite needs: after the connect nobody may have to wait for room for a long time.
func (p *place) dropWriter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writer.file != nil {
		_ = p.writer.file.Close()
		p.writer = watched{}
	}
}

func (p *place) setReadDeadline(t time.Time) error { return p.reader.file.SetReadDeadline(t) }

// setWriteDeadline does nothing where nobody can be waiting.
func (p *place) setWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writer.raw == nil {
		return nil
	}
	return p.writer.file.SetReadDeadline(t)
}

// look tells the Go poller to look away from what comes, or to look again, and reports whether that was a change. It is the reader's. Who
// has it look again must try once more before waiting: what came meanwhile wakes nobody.
func (p *place) look(on bool) (changed bool) {
	r := &p.reader
	if on != r.away {
		return false
	}
	var events uint32
	if on {
		events = eventsIn
	}
	_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, p.sock, &unix.EpollEvent{Events: events, Fd: int32(p.sock)})
	r.away = !on
	return true
}

func (p *place) close() error {
	p.mu.Lock()
	p.closed = true
	writer := p.writer.file
	p.mu.Unlock()
	if writer != nil {
		_ = writer.Close()
	}
	if p.reader.file != nil {
		_ = p.reader.file.Close()
	}
	return unix.Close(p.sock)
}

// nap sleeps for about d: package time's timers are too coarse. The kernel adds its slack of 50 us. The scheduler is not told, for its
// monitor thread would wake up; when it wants the processor it signals the thread.
func nap(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		if errno != unix.EINTR {
			return
		}
		runtime.Gosched()
	}
}
