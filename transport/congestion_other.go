//go:build !linux

package transport

// Only the kernel of Linux is told anything about congestion control.

func quickAck(int) bool { return false }
func unpaced(int)       {}
