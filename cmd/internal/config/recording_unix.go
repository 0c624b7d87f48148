//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// claim locks a file until it is closed, so that only one process at a time writes a recording; own
// is false if another file, or none, has its name by now. A file that is not regular, or cannot be
// locked on its file system, is not locked.
func claim(f *os.File) (own bool, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err == nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var locked error
	if err := raw.Control(func(fd uintptr) { locked = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return false, err
	}
	if errors.Is(locked, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("%s %w", f.Name(), ErrWritten)
	}
	now, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, now), err
}

// discard removes a file that this process has made and claimed, and closes it: in this order, so
// that the name cannot be another process's file yet.
func discard(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
