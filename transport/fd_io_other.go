//go:build unix && !linux

package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

func readFD(fd int, p []byte, _ time.Duration) (int, error) {
	n, err := unix.Read(fd, p)
	return max(n, 0), err
}

func writeFD(fd int, p []byte, _ time.Duration) (int, error) {
	n, err := unix.Write(fd, p)
	return max(n, 0), err
}
