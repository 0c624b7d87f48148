//go:build unix && !linux

package transport

import "golang.org/x/sys/unix"

const fionread = 0x4004667f // FIONREAD

func readable(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionread)
	return int(int32(n)), err
}
