//go:build unix

package main

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

// openThere opens a file that is there already. A pipe that nobody reads has to wait for its reader: open(2) would do so by itself, but
// without a word, and beyond the end of ctx.
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
			return nil, fmt.Errorf("nobody reads the pipe %s: %w", path, ctx.Err())
		case <-time.After(readerPause):
		}
	}
}

// claim locks a file until it is closed, for one process at a time writes a recording; own is false if it is not the one of that name any
// more. What is no regular file, and what cannot be locked where it is, is for everybody.
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
		return false, fmt.Errorf("%s %w", f.Name(), errWritten)
	}
	now, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, now), err
}

// discard removes a file that this process has made and claimed, and closes it: in this order, so that the name is nobody else's yet.
func discard(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
