package handoff

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lone is a socket that the Go poller does not watch. Where it does each message costs a call-back on either side, whether anybody waits
// or not, which is a tenth of what a message costs at all. So whoever has to wait has an epoll descriptor watch the socket meanwhile, and
// the Go poller watch that.
//
// Closing ends the waits and waits for calls in progress; the socket is closed after that, so no reused number is ever used. A call that
// has the Conn's turn need not be counted: Close takes the turns, too.
type lone struct {
	fd      int
	users   atomic.Int64  // 2 for each other call in progress, and 1 once closed
	turns   [2]*turns     // of the Conn: to send, to receive
	ending  chan struct{} // closed when Close begins
	gone    chan struct{}
	in, out vigil

	mu sync.Mutex // guards the closing of fd
}

// A vigil is where calls of one direction wait.
type vigil struct {
	s      *lone
	events uint32
	step   func(uintptr) bool

	waits sync.Mutex // held by who waits, or is about to
	try   func(uintptr) bool
	watch bool // the epoll descriptor looks
	err   error

	mu    sync.Mutex // guards until, and the making of file
	until time.Time  // the deadline; zero: none
	file  *os.File   // the epoll descriptor
	raw   syscall.RawConn
	epoll int
}

// own takes the socket from the Go poller. Where that does not go it stays there.
func (c *Conn) own() {
	s := &lone{fd: -1, turns: [2]*turns{&c.sending, &c.receiving}, ending: make(chan struct{}), gone: make(chan struct{})}
	var err error
	e := c.raw.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err != nil || e != nil {
		return
	}
	_ = c.conn.Close()
	for _, v := range []*vigil{&s.in, &s.out} {
		v.s, v.step = s, v.attempt
	}
	s.in.events, s.out.events = unix.EPOLLIN|unix.EPOLLRDHUP, unix.EPOLLOUT
	c.alone, c.conn, c.raw = s, nil, s
	c.outward, c.inward = direction{s.Write, s.out.deadline}, direction{s.Read, s.in.deadline}
}

// open tells who has a turn whether the descriptor can be used, until the turn is passed on.
func (s *lone) open() bool { return s != nil && s.users.Load()&1 == 0 }

// closing is closed when Close begins; nil for a socket that is the Go poller's.
func (s *lone) closing() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.ending
}

// enter precedes a use of the descriptor without a turn; false: it is closed.
func (s *lone) enter() bool {
	if s.users.Add(2)&1 == 0 {
		return true
	}
	s.leave()
	return false
}

func (s *lone) leave() {
	if s.users.Add(-2) == 1 {
		s.last()
	}
}

// last closes the socket, once: nobody who comes now gets in.
func (s *lone) last() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = closeFD(s.fd)
		s.fd = -1
		close(s.gone)
	}
}

// Close ends everything.
func (s *lone) Close() error {
	if !s.enter() {
		return net.ErrClosed
	}
	if s.users.Or(1)&1 != 0 {
		s.leave()
		return net.ErrClosed
	}
	close(s.ending)
	s.in.close()
	s.out.close()
	for _, t := range s.turns {
		_ = t.take(context.Background())
		defer t.pass()
	}
	s.leave()
	<-s.gone
	return nil
}

// Control, Read and Write are those of syscall.RawConn.
func (s *lone) Control(f func(fd uintptr)) error {
	if !s.enter() {
		return net.ErrClosed
	}
	defer s.leave()
	f(uintptr(s.fd))
	return nil
}

func (s *lone) Read(f func(fd uintptr) bool) error  { return s.in.park(f) }
func (s *lone) Write(f func(fd uintptr) bool) error { return s.out.park(f) }

// park calls try until it is done.
func (v *vigil) park(try func(uintptr) bool) error {
	s := v.s
	if !s.enter() {
		return net.ErrClosed
	}
	defer s.leave()
	v.waits.Lock()
	defer v.waits.Unlock()
	if try(uintptr(s.fd)) {
		return nil
	}
	if done, err := v.glance(try); done || err != nil {
		return err
	}
	v.try, v.err = try, nil
	err := v.raw.Read(v.step)
	v.try = nil
	switch {
	case err == nil:
		return v.err
	case s.users.Load()&1 != 0:
		return net.ErrClosed
	}
	return err
}

// glance makes the epoll descriptor. As long as there is none to be had it tries from time to time, and is done when that has succeeded:
// somebody may have to wait for the first time long after the socket was made, and that is not to be the socket's end.
func (v *vigil) glance(try func(uintptr) bool) (done bool, err error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if err := v.open(); !exhausted(err) {
			return false, err
		}
		select {
		case <-v.s.ending:
			return false, net.ErrClosed
		case <-time.After(pause):
		}
		if v.ended() {
			return false, os.ErrDeadlineExceeded
		}
		if try(uintptr(v.s.fd)) {
			return true, nil
		}
	}
}

// attempt is called before the wait and after each time that something has happened, by the poller, so that the epoll descriptor is open.
// Whoever has the epoll descriptor look must try once more before waiting: the kernel wakes nobody for what is there already, where it
// still counts the socket among those that were ready before.
func (v *vigil) attempt(uintptr) bool {
	if !v.watch {
		if v.err = v.control(unix.EPOLL_CTL_MOD, v.events); v.err != nil {
			return true
		}
	}
	if !v.try(uintptr(v.s.fd)) {
		return false
	}
	_ = v.control(unix.EPOLL_CTL_MOD, 0) // it looks on else, which costs time only
	return true
}

// control sets what is watched for; 0 is nothing.
func (v *vigil) control(op int, events uint32) error {
	v.watch = events != 0
	if v.watch {
		events |= unix.EPOLLET
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(v.epoll, op, v.s.fd, &unix.EpollEvent{Events: events}))
}

// open makes the epoll descriptor, once, for who is inside the socket.
func (v *vigil) open() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		return nil
	}
	if v.s.users.Load()&1 != 0 {
		return net.ErrClosed
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	v.epoll = epoll
	err = v.control(unix.EPOLL_CTL_ADD, 0)
	if err == nil {
		err = unix.SetNonblock(epoll, true) // tells os.NewFile to give it to the poller
	}
	if err != nil {
		return errors.Join(err, closeFD(epoll))
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	err = file.SetDeadline(v.until)
	if errors.Is(err, os.ErrNoDeadline) { // the Go poller could not take it
		err = os.NewSyscallError("epoll_ctl", unix.ENOMEM)
	}
	if err == nil {
		v.raw, err = file.SyscallConn()
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	v.file = file
	return nil
}

// deadline ends waits that go on then; a past one those that go on now.
func (v *vigil) deadline(t time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.until = t
	if v.file == nil {
		return nil
	}
	return v.file.SetReadDeadline(t)
}

func (v *vigil) ended() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.until.IsZero() && time.Now().After(v.until)
}

func (v *vigil) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		_ = v.file.Close()
	}
}

func (s *lone) closeWrite() error {
	err := net.ErrClosed
	if s.enter() {
		err = os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR))
		s.leave()
	}
	return err
}
