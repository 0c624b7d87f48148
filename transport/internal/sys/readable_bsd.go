//go:build unix && !linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const fionread = 0x4004667f // FIONREAD

// Readable asks FIONREAD, which writes 32 bits: the first ones of an int, whichever end of it they
// are.
func Readable(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionread)
	return int(*(*int32)(unsafe.Pointer(&n))), err
}
