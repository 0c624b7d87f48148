package service

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the time of the clock by which systemd tells what came first (CLOCK_MONOTONIC).
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // this clock is always there
	return time.Duration(now.Nano())
}
