//go:build linux || freebsd || dragonfly

package sys

import "golang.org/x/sys/unix"

func Socket(family, kind int) (int, error) { return unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0) }

func SocketPair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
}
