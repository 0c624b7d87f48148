//go:build !unix

package system

import (
	"errors"
	"os"
)

// Close closes a descriptor.
func Close(int) error { return errors.ErrUnsupported }

// NotLingering does nothing where no descriptor comes.
func NotLingering(int) {}

// File makes a file of a received descriptor.
func File(fd int, name string) (*os.File, error) { return os.NewFile(uintptr(fd), name), nil }

// SocketType tells what a socket is.
func SocketType(int) (family, kind int, listening bool, err error) {
	return 0, 0, false, errors.ErrUnsupported
}
