//go:build linux || freebsd || dragonfly

package sys

import "golang.org/x/sys/unix"

func Socket(family, kind int) (int, error) { return unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0) }

func SocketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
