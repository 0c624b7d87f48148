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

// autobindName makes a directory for a name, as the system has none to give.
func autobindName() (name, dir string, err error) {
	if dir, err = os.MkdirTemp("", "json"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "s"), dir, nil
}
