//go:build unix && !linux

package sock

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const openDirectory = unix.O_RDONLY

// AutobindName makes a new directory and returns the name of a socket in it, because these systems
// do not choose names themselves.
func AutobindName() (name, dir string, err error) {
	if dir, err = os.MkdirTemp("", "json"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "s"), dir, nil
}
