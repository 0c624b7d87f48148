//go:build freebsd || netbsd || openbsd || dragonfly

package handoff

import "golang.org/x/sys/unix"

const noSignal = unix.MSG_NOSIGNAL

func receiveMessage(fd int, p, control []byte) (n, used, flags int, from unix.Sockaddr, err error) {
	return unix.Recvmsg(fd, p, control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
}
