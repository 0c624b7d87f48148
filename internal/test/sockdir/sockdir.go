// Package sockdir gives tests directories for UNIX sockets.
package sockdir

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
)

// roomy is how long the path of the directory for temporary files may be: that of a socket has at
// most 103 bytes (107 on Linux), and tests put long names, and directories, below what they get.
const roomy = 48

// New returns a new directory, the user's own, which is removed when the test ends. Its path leaves
// room for the name of a socket: that of testing.TB.TempDir, which has the test's name in it, may
// be too long. Where TMPDIR is long itself, the directory is in /tmp.
func New(t testing.TB) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > roomy {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "cn")
	if err != nil && parent != os.TempDir() {
		need.Missing(t, "no short path for sockets: TMPDIR is long, and "+err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
