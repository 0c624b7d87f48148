//go:build unix

package gate

import "golang.org/x/sys/unix"

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
