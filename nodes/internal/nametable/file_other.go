//go:build !linux

package nametable

import (
	"errors"
	"os"
)

// sharedFile makes a file without a name, for several processes.
func sharedFile(name string) (*os.File, error) {
	f, err := os.CreateTemp("", name)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
