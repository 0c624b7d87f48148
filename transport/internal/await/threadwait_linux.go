package await

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A threadWait is a place to wait for a descriptor in a system call on the caller's own thread, as
// a program without a scheduler does: the kernel wakes the waiting thread itself. In the Go poller
// another thread is woken first, which then has to find the waiting goroutine. An eventfd ends the
// call.
type threadWait struct {
	polled [2]unix.PollFd // the descriptor and the eventfd
	taken  bool
	ended  bool // the eventfd is readable
	used   int  // how often it was taken
	seen   int  // the value of used when sweep looked last
}

// wait waits for one of the events of a descriptor, and reports whether one came; otherwise the
// wait was ended.
func (s *threadWait) wait(fd int, events int16) bool {
	s.polled[0] = unix.PollFd{Fd: int32(fd), Events: events}
	return sys.PollForever(&s.polled) == nil && s.polled[0].Revents != 0
}

// leaveGoPoller starts a goroutine just to wake a thread that watches the Go poller, in case no
// other does. A thread that has taken an event from the Go poller, and now runs the goroutine that
// waited for it, leaves the Go poller to the next idle thread. Were it to enter a system call
// before there is one, nobody would watch the Go poller for up to 10 ms.
func leaveGoPoller() { go func() {}() }

const (
	pollArrivals = unix.POLLIN | unix.POLLRDHUP
	pollRoom     = unix.POLLOUT
)

// threadWaits are the threadWaits of one Transport. They are made when they are needed, and closed
// once they are unused. The zero value is ready.
type threadWaits struct {
	mu      sync.Mutex
	all     []*threadWait
	sweeper *time.Timer
	sweeps  bool
}

// blocksAtMost is the interval of sweep, which ends every wait that was already under way at its
// last look: a connection that falls silent sleeps in the Go poller.
const blocksAtMost = 10 * time.Millisecond

// take returns a free threadWait; nil if no descriptor can be had for a new one.
func (t *threadWaits) take() *threadWait {
	t.mu.Lock()
	defer t.mu.Unlock()
	var free *threadWait
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
		free = new(threadWait)
		free.polled[1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		t.all = append(t.all, free)
	}
	free.taken = true
	free.used++
	if !t.sweeps {
		t.sweeps = true
		if t.sweeper == nil {
			t.sweeper = time.AfterFunc(blocksAtMost, t.sweep)
		} else {
			t.sweeper.Reset(blocksAtMost)
		}
	}
	return free
}

// leave gives a threadWait back.
func (t *threadWaits) leave(s *threadWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.ended {
		sys.DrainEvent(s.event())
		s.ended = false
	}
	s.taken = false
}

// interrupt ends the wait, which may be about to begin.
func (t *threadWaits) interrupt(s *threadWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(s)
}

func (t *threadWaits) end(s *threadWait) {
	if s.taken && !s.ended {
		s.ended = true
		sys.RaiseEvent(s.event())
	}
}

// sweep interrupts each threadWait whose wait was under way when sweep looked last, and closes the
// threadWaits that have not been used since.
func (t *threadWaits) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.all[:0]
	for _, s := range t.all {
		switch {
		case s.used != s.seen:
			s.seen = s.used
		case s.taken:
			t.end(s)
		default:
			_ = sys.Close(s.event())
			continue
		}
		kept = append(kept, s)
	}
	clear(t.all[len(kept):])
	t.all = kept
	if t.sweeps = len(kept) > 0; t.sweeps {
		t.sweeper.Reset(blocksAtMost)
	}
}

// event is the eventfd.
func (s *threadWait) event() int { return int(s.polled[1].Fd) }
