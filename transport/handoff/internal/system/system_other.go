//go:build !linux

package system

import "os"

// File makes a file of a received descriptor.
func File(fd int, name string) (*os.File, error) { return os.NewFile(uintptr(fd), name), nil }
