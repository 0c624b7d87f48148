//go:build darwin || freebsd

package handoff

import (
	"os"

	"golang.org/x/sys/unix"
)

func peerCred(fd int) (Cred, error) {
	x, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return noCred, os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
	}
	c := Cred{peerPID(fd), int(x.Uid), -1}
	if x.Ngroups > 0 {
		c.GID = int(x.Groups[0])
	}
	return c, nil
}
