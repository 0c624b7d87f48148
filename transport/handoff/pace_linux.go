package handoff

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	lingerLimit = 100 * time.Microsecond // how long a call waits by itself before the Go poller waits for it
	lingerTries = 4 * time.Microsecond   // of that: how long it tries again and again
	lingerPause = 250 * time.Nanosecond  // between two tries, each of which locks the socket
	paceHot     = 8                      // short waits in a row after which a call waits by itself
	paceMisses  = 2                      // times in vain in a row after which none does any more
)

// A pace is what one direction of a socket knows of its peer: whether what it waits for comes soon. To be woken by the Go poller takes longer than most of what another
// process does to make room, or to send the next message. So where waits have lately been short, a call first waits for itself: it tries for some microseconds, and
// then sleeps in ppoll(2) on its own thread, up to lingerLimit. Close and the end of a context have to wait for that at most. Threads that wait like this are
// few by nature: each of them belongs to a socket that passes ten thousand messages a second.
type pace struct {
	hot    bool
	count  int // in vain in a row, if hot, else short waits in a row
	keen   bool
	began  time.Time // of the wait in progress
	polled [1]unix.PollFd
}

// begin precedes a call that may wait.
func (p *pace) begin() { p.keen, p.began = p.hot, time.Time{} }

// linger follows a try in vain; true says that it is worth another one.
func (p *pace) linger(fd int, out bool) bool {
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	if !p.keen {
		return false
	}
	spent := now.Sub(p.began)
	if spent < lingerTries {
		for time.Since(now) < lingerPause {
		}
		return true
	}
	p.keen = false
	p.polled[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	if out {
		p.polled[0].Events = unix.POLLOUT
	}
	left := unix.NsecToTimespec(int64(max(lingerLimit-spent, 0)))
	n, err := unix.Ppoll(p.polled[:], &left, nil)
	return n > 0 || err == unix.EINTR
}

// end follows the last try.
func (p *pace) end() {
	p.keen = false
	if p.began.IsZero() {
		return
	}
	short := time.Since(p.began) <= lingerLimit
	p.began = time.Time{}
	if short == p.hot {
		p.count = 0
		return
	}
	if p.count++; p.count >= paceHot || p.hot && p.count >= paceMisses {
		p.hot, p.count = !p.hot, 0
	}
}
