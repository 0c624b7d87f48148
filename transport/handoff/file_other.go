//go:build !linux

package handoff

import "os"

// strangersFile makes a file of a received descriptor.
func strangersFile(fd int, name string) (*os.File, error) { return os.NewFile(uintptr(fd), name), nil }
