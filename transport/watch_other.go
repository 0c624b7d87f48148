//go:build !linux

package transport

import "time"

const canPoll = false

func newWatch(fd int, _, _ bool) (watch, error) { return plainWatch(fd) }

// seats are for Linux.
type seats struct{}

func standIn() {}

func nap(time.Duration) {}
