//go:build unix && !(linux || freebsd || netbsd || openbsd || dragonfly)

package handoff

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const noSignal = 0 // package net handles SIGPIPE

// receiveMessage holds the fork lock, since there is no MSG_CMSG_CLOEXEC: a child that is started
// before CloseOnExec would inherit descriptors.
func receiveMessage(fd int, p, control []byte) (n, used, flags int, from unix.Sockaddr, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, used, flags, from, err = unix.Recvmsg(fd, p, control, unix.MSG_DONTWAIT)
	if err == nil {
		fds, _ := parseAncillary(nil, control[:used])
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
	}
	return n, used, flags, from, err
}
