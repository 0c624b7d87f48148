//go:build linux || freebsd || netbsd || openbsd || dragonfly

package handoff

import "golang.org/x/sys/unix"

// hasPackets tells whether the system has UNIX sockets of sequenced packets.
const hasPackets = true

func socketPair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
}

func datagramSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
}
