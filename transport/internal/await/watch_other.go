//go:build !linux

package await

const CanPoll = false

func newWatch(fd int, _ *Policy, _, _ bool) (watch, error) { return plainWatch(fd) }

// threadWaits and rests are for Linux.
type (
	threadWaits struct{}
	rests       struct{}
)

func leaveGoPoller() {}
