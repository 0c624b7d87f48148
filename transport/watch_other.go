//go:build !linux

package transport

import "time"

const canPoll = false

func newWatch(fd int, _ bool) (watch, error) { return plainWatch(fd) }

func nap(time.Duration) {}
