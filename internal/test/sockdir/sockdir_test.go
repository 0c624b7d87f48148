package sockdir

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The directory is new, and gone with its test.
func TestDirectoryGoesWithItsTest(t *testing.T) {
	var dir string
	t.Run("whose name, were it in the path, would leave too little room for that of a socket: for it is this long", func(t *testing.T) {
		dir = New(t)
		require.DirExists(t, dir)
		require.LessOrEqual(t, len(filepath.Base(dir)), 14)
		require.NotEqual(t, dir, New(t))
	})
	require.NoDirExists(t, dir)
}

// Where the directory for temporary files has a long path, as under some build systems, the
// directory is elsewhere.
func TestDirectoryIsShort(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no /tmp there")
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	require.NoError(t, os.Mkdir(long, 0o700))
	t.Setenv("TMPDIR", long)
	short := New(t)
	require.DirExists(t, short)
	require.Less(t, len(short), roomy)
}
