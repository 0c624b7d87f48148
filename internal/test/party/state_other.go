//go:build unix && !linux

package party

// Stopped tells whether a process stands still by SIGSTOP, where the system says so.
func Stopped(int) bool { return false }

// Ended tells whether a process has ended, where the system says so.
func Ended(int) bool { return false }
