//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkPrivate refuses a directory of another user, or one that other users may look into.
func checkPrivate(dir string, info fs.FileInfo) error {
	if uid, ok := owner(info); ok && uid != os.Getuid() {
		return fmt.Errorf("%s belongs to another user: remove it, or give --listen unix:DIRECTORY", dir)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to other users (mode %#o): chmod 700 it, or give --listen unix:DIRECTORY", dir, info.Mode().Perm())
	}
	return nil
}

// Foreign reports whether a file belongs to a user other than this one and root.
func Foreign(info fs.FileInfo) bool {
	uid, ok := owner(info)
	return ok && uid != os.Getuid() && uid != 0
}

func owner(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
