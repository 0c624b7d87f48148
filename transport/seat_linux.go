package transport

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A seat is a place to wait for a descriptor in a system call on the caller's own thread, as a program without a scheduler does: the kernel
// wakes the waiting thread itself. In the Go poller another thread is woken first, which then has to find the waiting goroutine.
// An eventfd ends the call.
type seat struct {
	polled [2]unix.PollFd // the descriptor and the eventfd
	taken  bool
	kicked bool // the eventfd is readable
	sat    int  // how often it was taken
	seen   int  // the value of sat when tend looked last
}

// wait waits for one of the events of a descriptor, and reports whether one came; otherwise the seat was kicked.
func (s *seat) wait(fd int, events int16) bool {
	s.polled[0] = unix.PollFd{Fd: int32(fd), Events: events}
	return sys.PollForever(&s.polled) == nil && s.polled[0].Revents != 0
}

// standIn starts a goroutine just to wake a thread that watches the Go poller, in case no other does. A thread that has taken an event from
// the Go poller, and now runs the goroutine that waited for it, leaves the Go poller to the next idle thread. Were it to enter a system
// call before there is one, nobody would watch the Go poller for up to 10 ms.
func standIn() { go func() {}() }

const (
	pollArrivals = unix.POLLIN | unix.POLLRDHUP
	pollRoom     = unix.POLLOUT
)

// seats are the seats of one Transport. They are made when they are needed, and closed once they are unused. The zero value is ready.
type seats struct {
	mu     sync.Mutex
	all    []*seat
	tender *time.Timer
	tended bool
}

// sitsAtMost is the interval of tend, which ends every wait on a seat that was already under way at its last look: a connection that falls
// silent sleeps in the Go poller.
const sitsAtMost = 10 * time.Millisecond

// take returns a free seat; nil if no descriptor can be had for a new one.
func (t *seats) take() *seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	var free *seat
	for _, s := range t.all {
		if !s.taken {
			free = s
			break
		}
	}
	if free == nil {
		fd, err := sys.NewEvent()
		if err != nil {
			return nil
		}
		free = new(seat)
		free.polled[1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		t.all = append(t.all, free)
	}
	free.taken = true
	free.sat++
	if !t.tended {
		t.tended = true
		if t.tender == nil {
			t.tender = time.AfterFunc(sitsAtMost, t.tend)
		} else {
			t.tender.Reset(sitsAtMost)
		}
	}
	return free
}

// leave gives a seat back.
func (t *seats) leave(s *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.kicked {
		sys.DrainEvent(s.bell())
		s.kicked = false
	}
	s.taken = false
}

// kick ends the wait on a seat, which may be about to begin.
func (t *seats) kick(s *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(s)
}

func (t *seats) end(s *seat) {
	if s.taken && !s.kicked {
		s.kicked = true
		sys.RaiseEvent(s.bell())
	}
}

// tend kicks each seat whose wait was under way when tend looked last, and closes the seats that have not been used since.
func (t *seats) tend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.all[:0]
	for _, s := range t.all {
		switch {
		case s.sat != s.seen:
			s.seen = s.sat
		case s.taken:
			t.end(s)
		default:
			_ = sys.Close(s.bell())
			continue
		}
		used = append(used, s)
	}
	clear(t.all[len(used):])
	t.all = used
	if t.tended = len(used) > 0; t.tended {
		t.tender.Reset(sitsAtMost)
	}
}

// bell is the eventfd.
func (s *seat) bell() int { return int(s.polled[1].Fd) }
