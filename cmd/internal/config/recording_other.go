//go:build !unix

package config

import (
	"errors"
	"os"
)

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
