//go:build unix

package virtual

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// duplicateFD makes the descriptor that another process would have been given.
func duplicateFD(t testing.TB, fd int) int {
	t.Helper()
	return expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)).In(t)
}
