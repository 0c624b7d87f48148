//go:build !unix

package config

import (
	"context"
	"errors"
	"io"
	"os"
)

// openThere opens a file that exists already.
func openThere(_ context.Context, path string, _ io.Writer) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE, recordingMode)
}

// claim does nothing: there are no file locks on these systems.
func claim(*os.File) (own bool, err error) { return true, nil }

// discard closes a file that this process has made, and removes it unless another process has
// written to it.
func discard(f *os.File) error {
	err := f.Close()
	if info, e := os.Stat(f.Name()); e == nil && info.Size() == 0 {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
