//go:build !linux

package sys

import "time"

// Nap is for Linux.
func Nap(time.Duration) {}
