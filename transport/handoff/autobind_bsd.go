//go:build unix && !linux

package handoff

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	abstractNames = false
	openDirectory = unix.O_RDONLY
)

// autobindName makes a new directory and returns the name of a socket in it, because these systems
// do not choose names themselves.
func autobindName() (name, dir string, err error) {
	if dir, err = os.MkdirTemp("", "json"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "s"), dir, nil
}
