//go:build unix

package need

import (
	"syscall"
	"testing"
)

// Descriptors skips a test if the process may not have n open descriptors: the limit is the
// machine's owner's to set (ulimit -Hn; the Go runtime raises the soft limit by itself). On Linux
// it also bounds what a user other than root has in flight, see unix(7), SCM_RIGHTS.
func Descriptors(t testing.TB, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if uint64(limit.Cur) < n {
		t.Skipf("RLIMIT_NOFILE is %d, the test needs %d", limit.Cur, n)
	}
}
