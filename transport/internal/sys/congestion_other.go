//go:build !linux

package sys

// Only the kernel of Linux is told anything about congestion control and its buffers.

func QuickAck(int) bool { return false }
func Unpace(int)        {}
func LimitUnsent(int)   {}
