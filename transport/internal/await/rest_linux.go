package await

import (
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// restsAfter is how long a reader has not gone to sleep anew when it gives its epoll descriptor
	// up.
	restsAfter = time.Second
	// fewReaders are so few that they keep their epoll descriptors.
	fewReaders = 16
)

// rests is where readers sleep that mostly have nothing to read: all of a Transport's with one
// epoll descriptor, so that an idle connection has none of its own. What comes wakes a goroutine
// first, which wakes the reader; so a reader that sleeps for less than restsAfter has an epoll
// descriptor of its own again. The zero value is ready.
type rests struct {
	mu      sync.Mutex
	epoll   *os.File              // nil: nobody rests
	fd      int                   // of epoll
	over    chan struct{}         // closed once epoll is
	resting map[int32]*watcher    // by descriptor; those in epoll
	own     map[*watcher]struct{} // those with an epoll descriptor for reading
	sweeper *time.Timer           // nil: own is empty
}

// has notes that w has an epoll descriptor for reading.
func (r *rests) has(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		r.own = map[*watcher]struct{}{}
	}
	r.own[w] = struct{}{}
	if r.sweeper == nil {
		r.sweeper = time.AfterFunc(restsAfter, r.sweep)
	}
}

// hasNot notes that w has none any more.
func (r *rests) hasNot(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.own, w)
	if len(r.own) == 0 && r.sweeper != nil {
		r.sweeper.Stop()
		r.sweeper = nil
	}
}

func (r *rests) sweep() {
	r.mu.Lock()
	few := len(r.own)+len(r.resting) <= fewReaders
	if r.sweeper != nil {
		r.sweeper.Reset(restsAfter)
	}
	r.mu.Unlock()
	if !few {
		r.giveUp()
	}
}

// giveUp has each reader give up its epoll descriptor that has not gone to sleep since the last
// time.
func (r *rests) giveUp() {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.own))
	r.mu.Unlock()
	for _, w := range all {
		w.giveUp()
	}
}

// arm has w woken by what comes for it, once.
func (r *rests) arm(w *watcher) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	op := unix.EPOLL_CTL_ADD
	if r.resting[int32(w.fd)] == w {
		op = unix.EPOLL_CTL_MOD
	}
	event := unix.EpollEvent{Events: arrivals | unix.EPOLLONESHOT, Fd: int32(w.fd)}
	if err := unix.EpollCtl(r.fd, op, w.fd, &event); err != nil {
		r.endUnused()
		return os.NewSyscallError("epoll_ctl", err)
	}
	r.resting[int32(w.fd)] = w
	return nil
}

// forget undoes arm, if that has been called. If nobody rests any more, over is closed once the
// epoll descriptor is.
func (r *rests) forget(w *watcher) (over <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resting[int32(w.fd)] != w {
		return nil
	}
	_ = unix.EpollCtl(r.fd, unix.EPOLL_CTL_DEL, w.fd, nil)
	delete(r.resting, int32(w.fd))
	if r.endUnused(); r.epoll == nil {
		return r.over
	}
	return nil
}

func (r *rests) open() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	file, raw, err := toPoller(epoll, false)
	if err != nil {
		return err
	}
	r.epoll, r.fd, r.over = file, epoll, make(chan struct{})
	if r.resting == nil {
		r.resting = map[int32]*watcher{}
	}
	go r.dispatch(file, raw, r.over)
	return nil
}

// endUnused has dispatch end, and close the epoll descriptor, if nobody rests. To close it here
// would be to wait for dispatch, which may be waiting for mu.
func (r *rests) endUnused() {
	if len(r.resting) == 0 {
		_ = r.epoll.SetReadDeadline(time.Unix(1, 0))
		r.epoll = nil
	}
}

// dispatch wakes readers for which something has come.
func (r *rests) dispatch(file *os.File, raw syscall.RawConn, over chan struct{}) {
	defer close(over)
	defer file.Close()
	events := make([]unix.EpollEvent, 64)
	woken := make([]*watcher, 0, len(events))
	_ = raw.Read(func(epoll uintptr) bool {
		for {
			n, err := unix.EpollWait(int(epoll), events, 0)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				return false
			}
			woken = woken[:0]
			r.mu.Lock()
			for _, e := range events[:n] {
				if w := r.resting[e.Fd]; w != nil {
					woken = append(woken, w)
				}
			}
			r.mu.Unlock()
			for _, w := range woken {
				w.came.Store(true)
				w.wake()
			}
		}
	})
}
