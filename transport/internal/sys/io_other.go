//go:build unix && !linux

package sys

import "golang.org/x/sys/unix"

// mostBytes is the most that one call is given: those of Darwin and FreeBSD refuse 2 GB and more.
// See internal/poll of the Go library, maxRW.
const mostBytes = 1 << 30

func Read(fd int, p []byte) (int, error) {
	n, err := unix.Read(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}

func Write(fd int, p []byte) (int, error) {
	n, err := unix.Write(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}
