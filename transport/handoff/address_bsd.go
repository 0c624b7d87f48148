//go:build unix && !linux

package handoff

import (
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"golang.org/x/sys/unix"
)

func isCredentials(*unix.Cmsghdr, []byte) bool { return false }
func credentials([]byte) Cred                  { return noCred }
func isProcess(*unix.Cmsghdr, []byte) bool     { return false }

// domain tells the family of a socket; these systems do not tell its protocol.
func domain(fd int) (domain, protocol int, err error) {
	domain, err = system.Family(fd)
	return domain, -1, err
}
