package sys

import "golang.org/x/sys/unix"

// Unarrived asks SIOCOUTQ, which writes 32 bits, whatever the size of an int.
func Unarrived(fd int) (int, error) {
	n, err := unix.IoctlGetUint32(fd, unix.SIOCOUTQ)
	return int(n), err
}
