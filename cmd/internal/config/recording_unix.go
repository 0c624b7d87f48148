//go:build unix

package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readerPause is how long openThere waits until it looks again whether a pipe has a reader.
const readerPause = 50 * time.Millisecond

// openThere opens a file that exists already. For a pipe it waits until the pipe has a reader:
// open(2) would do so by itself, but without a message, and beyond the end of ctx.
func openThere(ctx context.Context, path string, errOut io.Writer) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		flags |= unix.O_NONBLOCK
	}
	for told := false; ; told = true {
		f, err := os.OpenFile(path, flags, recordingMode)
		if flags&unix.O_NONBLOCK == 0 || !errors.Is(err, unix.ENXIO) {
			return f, err
		}
		if !told {
			fmt.Fprintf(errOut, "--trace: waiting until somebody reads the pipe %s\n", path)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w %s: %w", ErrUnread, path, ctx.Err())
		case <-time.After(readerPause):
		}
	}
}

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
