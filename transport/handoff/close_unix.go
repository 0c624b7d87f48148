//go:build unix && !linux

package handoff

import "golang.org/x/sys/unix"

func closeFD(fd int) error { return unix.Close(fd) }

// notLingering: see close_linux.go.
func notLingering(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}
