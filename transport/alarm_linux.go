package transport

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollArrivals = unix.POLLIN | unix.POLLRDHUP
	pollRoom     = unix.POLLOUT
)

// alarms end the short waits of one Transport. ppoll(2) has a time-out for that, but then the kernel sets a timer for each wait, which on a
// virtual machine takes longer than the rest of the call. So waits share alarms, which are set twice in a millisecond at the most. Alarms
// are made when waits come one after the other, and closed once they are unused: a Transport that has one connection only, and soon gives
// it up, is better off with a few time-outs of ppoll. The zero value is ready.
type alarms struct {
	mu     sync.Mutex
	all    [2]alarm // while waits still use one, the other can be set
	tender *time.Timer
	tended bool
	used   bool // since tend looked last
	since  time.Time
	waits  int // how many did without an alarm, since that time
}

// An alarm is a timerfd.
type alarm struct {
	fd      int
	made    bool
	rings   time.Time
	waiting int // how many waits use it; while there are any it is not set anew
}

// alarmsRest is how long alarms must have been unused to be closed.
const alarmsRest = 20 * time.Millisecond

// alarmsPay is how many waits within that time do without an alarm before one is made.
const alarmsPay = 4

// await waits on the calling thread for something to arrive at a descriptor, for d at least and twice as long at most, and reports whether
// something did.
//
// The scheduler is not told, for its monitor thread would wake up for each wait, beside a peer that has work to do. It need not be told:
// when it wants the processor, to collect garbage say, it signals the thread, and a signal ends the call.
func (a *alarms) await(fd int, d time.Duration) bool {
	own := a.take(d)
	if own == nil {
		return awaitFD(fd, d)
	}
	defer a.leave(own)
	polled := [2]unix.PollFd{{Fd: int32(fd), Events: pollArrivals}, {Fd: int32(own.fd), Events: unix.POLLIN}}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&polled)), uintptr(len(polled)), 0, 0, 0, 0)
		if errno != unix.EINTR {
			return errno == 0 && polled[0].Revents != 0
		}
		runtime.Gosched()
	}
}

// take returns an alarm that rings after d at least and 2*d at most, which the caller gives back with leave; nil when none can be had, or
// none is worth it yet.
func (a *alarms) take(d time.Duration) *alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used = true
	now := time.Now()
	if !a.tended && !a.pays(now) {
		return nil
	}
	var free *alarm
	for i := range a.all {
		w := &a.all[i]
		if left := w.rings.Sub(now); left >= d && left <= 2*d {
			w.waiting++
			return w
		}
		if w.waiting == 0 {
			free = w
		}
	}
	if free == nil || !free.set(2*d) {
		return nil
	}
	free.rings = now.Add(2 * d)
	free.waiting++
	if !a.tended {
		a.tended = true
		if a.tender == nil {
			a.tender = time.AfterFunc(alarmsRest, a.tend)
		} else {
			a.tender.Reset(alarmsRest)
		}
	}
	return free
}

// pays counts one more wait, and reports whether there have been enough of late to be worth an alarm.
func (a *alarms) pays(now time.Time) bool {
	if now.Sub(a.since) > alarmsRest {
		a.since, a.waits = now, 0
	}
	a.waits++
	return a.waits > alarmsPay
}

// set makes the alarm ring after d, and reports whether it could.
func (w *alarm) set(d time.Duration) bool {
	if !w.made {
		fd, _, errno := unix.RawSyscall(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK, 0)
		if errno != 0 {
			return false
		}
		w.fd, w.made = int(fd), true
	}
	t := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(w.fd), 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
	return errno == 0
}

func (a *alarms) leave(w *alarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.waiting--
}

// tend closes the alarms, unless some have been used since it looked last.
func (a *alarms) tend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.all {
		if w := &a.all[i]; !a.used && w.waiting == 0 && w.made {
			_ = closeFD(w.fd)
			*w = alarm{}
		}
	}
	a.used = false
	if a.tended = a.all[0].made || a.all[1].made; a.tended {
		a.tender.Reset(alarmsRest)
	}
}

// awaitFD is await with the time-out of ppoll(2).
func awaitFD(fd int, d time.Duration) bool {
	for began, left := time.Now(), d; left > 0; left = d - time.Since(began) {
		p := unix.PollFd{Fd: int32(fd), Events: pollArrivals}
		t := unix.NsecToTimespec(left.Nanoseconds())
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		if errno != unix.EINTR {
			return errno == 0 && n == 1
		}
		runtime.Gosched()
	}
	return false
}
