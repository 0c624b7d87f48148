// Package system has the calls of the system for received descriptors, which are numbers here.
// Package handoff and the carriers below it share it.
package system

import "github.com/cnode-go/cnode/transport/internal/sys"

// Discard closes a received descriptor that is not wanted, and does not wait for a socket that
// lingers.
func Discard(fd int) error {
	NotLingering(fd)
	return sys.Close(fd)
}
