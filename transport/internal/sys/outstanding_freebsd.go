package sys

import "golang.org/x/sys/unix"

const fionwrite = 0x40046677 // FIONWRITE

func Unarrived(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionwrite)
	return int(int32(n)), err
}
