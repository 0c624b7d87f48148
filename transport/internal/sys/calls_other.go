//go:build !linux

package sys

import (
	"errors"
	"syscall"
	"time"
)

const ErrIsolated = syscall.EHOSTUNREACH // these systems have no error of its own for it

// Only the kernel of Linux is told anything about congestion control and its buffers.

func QuickAck(int) bool { return false }
func Unpace(int)        {}
func LimitUnsent(int)   {}

func Unacknowledged(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// Nap is for Linux.
func Nap(time.Duration) {}
