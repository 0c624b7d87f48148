//go:build unix && !linux

package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// mostBytes is the most that one call is given: those of Darwin and FreeBSD refuse 2 GB and more. See internal/poll of the Go library,
// maxRW.
const mostBytes = 1 << 30

func readFD(fd int, p []byte, _ time.Duration) (int, error) {
	n, err := unix.Read(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}

func writeFD(fd int, p []byte, _ time.Duration) (int, error) {
	n, err := unix.Write(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}
