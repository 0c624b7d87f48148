//go:build !linux

package handoff

// A pace is for Linux: elsewhere the Go poller does all of the waiting.
type pace struct{}

func (*pace) begin() {}

func (*pace) linger(int, bool) bool { return false }

func (*pace) end() {}
