//go:build unix && !linux

package party

// Stopped tells whether a process stands still by SIGSTOP, where the system says so.
func Stopped(int) bool { return false }
