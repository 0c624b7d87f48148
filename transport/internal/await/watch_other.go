//go:build !linux

package await

const CanPoll = false

func newWatch(fd int, _, _ bool) (watch, error) { return plainWatch(fd) }

// threadWaits are for Linux.
type threadWaits struct{}

func leaveGoPoller() {}
