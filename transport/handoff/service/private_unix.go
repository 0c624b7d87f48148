//go:build unix

package service

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff"
)

// checkPrivate checks that a directory is this user's, and closed to everybody else. It does not
// follow a link that another user may have made.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case ok && int(st.Uid) != os.Getuid():
		return fmt.Errorf("%w: %s belongs to another user: remove it, or set XDG_RUNTIME_DIR, also for who asks", handoff.ErrForbidden, dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: %s is open to other users (mode %#o): chmod 700 it, or set XDG_RUNTIME_DIR, also for who asks",
			handoff.ErrForbidden, dir, info.Mode().Perm())
	}
	return nil
}
