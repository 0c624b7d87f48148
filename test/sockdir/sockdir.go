// Package sockdir gives tests directories for UNIX sockets.
package sockdir

import (
	"os"
	"testing"
)

// New returns a new directory, the user's own, which is removed when the test ends. Its path leaves room for the name of a socket: that of
// testing.TB.TempDir, which has the test's name in it, may be too long.
func New(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
