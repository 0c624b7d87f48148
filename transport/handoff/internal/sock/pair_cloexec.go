//go:build linux || freebsd || netbsd || openbsd || dragonfly

package sock

import "golang.org/x/sys/unix"

// hasPackets tells whether the system has UNIX sockets of sequenced packets.
const hasPackets = true

func socketPair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
}
