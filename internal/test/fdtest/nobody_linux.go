package fdtest

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/need"
)

// AsNobody runs a function on a thread that belongs to another user, so that the system takes it
// for that user's process.
func AsNobody(t *testing.T, do func() error) {
	t.Helper()
	need.Root(t, "only root can be another user")
	const nobody = 65534
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			done <- errno
			return
		}
		done <- do()
	}()
	require.NoError(t, <-done)
}
