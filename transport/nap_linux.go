package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for about d: package time's timers are too coarse. The kernel adds its slack of 50 us.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil)
}
