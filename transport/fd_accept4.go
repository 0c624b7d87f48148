//go:build linux || freebsd || netbsd || openbsd || dragonfly || solaris || illumos

package transport

import "golang.org/x/sys/unix"

func streamSocket(af int) (int, error) {
	return unix.Socket(af, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

func acceptFD(fd int) (int, unix.Sockaddr, error) { return unix.Accept4(fd, unix.SOCK_CLOEXEC) }
