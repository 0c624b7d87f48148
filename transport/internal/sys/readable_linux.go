package sys

import "golang.org/x/sys/unix"

// Readable asks FIONREAD, which writes 32 bits, whatever the size of an int.
func Readable(fd int) (int, error) {
	n, err := unix.IoctlGetUint32(fd, unix.TIOCINQ)
	return int(n), err
}
