package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is the time that all threads of a process have run: what /proc/PID/stat has as
// utime + stime, but exact to the nanosecond, as the process's clock gives it, rather than to the
// hundredth of a second. See clock_getcpuclockid(3).
func processorTime(pid int) (time.Duration, error) {
	const schedulerClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// endWithBench lets the kernel kill a program when this process has died. See PR_SET_PDEATHSIG.
func endWithBench(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// holds reads a process's footprint. See proc_pid_status(5).
func holds(pid int) (footprint, error) {
	var f footprint
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			f.resident = n << 10
		case "VmHWM":
			f.peak = n << 10
		case "Threads":
			f.threads = int(n)
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	f.descriptors = len(open)
	return f, err
}
