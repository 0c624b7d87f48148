package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processor is the processor time that processes have had. See clock_getcpuclockid(3).
func processor(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		const schedulerClock = 2
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
			return 0, err
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}
