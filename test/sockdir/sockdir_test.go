package sockdir

import (
	"path/filepath"
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
