//go:build unix

package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A link, or a directory that is another user's or open to others, is refused in place of the
// user's own directory.
func TestOwnDirIsOwn(t *testing.T) {
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	dir, err := ownDir()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(run, "cnode", "sockets"), dir)
	again, err := ownDir()
	require.NoError(t, err)
	require.Equal(t, dir, again)

	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Symlink(t.TempDir(), dir))
	_, err = ownDir()
	require.ErrorContains(t, err, "is not a directory")

	require.NoError(t, os.Chmod(filepath.Join(run, "cnode"), 0o755))
	_, err = ownDir()
	require.ErrorContains(t, err, "or give --listen unix:DIRECTORY")
	require.NoError(t, os.Chmod(filepath.Join(run, "cnode"), 0o700))

	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(filepath.Join(run, "cnode"), 12345, 0))
		_, err = ownDir()
		require.ErrorContains(t, err, "belongs to another user")
	}
}
