//go:build unix

package service

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A control socket at the conventional place has directories of its own, both this user's alone;
// one elsewhere has the directory that it names.
func TestControlDirs(t *testing.T) {
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	path := ControlPath("x@host")
	require.NoError(t, makeDirs(path))
	require.NoError(t, makeDirs(path))
	require.DirExists(t, filepath.Dir(path))
	outer := filepath.Join(run, "cnode")
	require.NoError(t, os.Chmod(outer, 0o755))
	err := makeDirs(path)
	require.ErrorIs(t, err, handoff.ErrForbidden)
	require.ErrorContains(t, err, "set XDG_RUNTIME_DIR")
	require.NoError(t, os.RemoveAll(outer))
	require.NoError(t, os.Symlink(t.TempDir(), outer))
	require.ErrorContains(t, makeDirs(path), "is not a directory")
	if os.Getuid() == 0 {
		require.NoError(t, os.Remove(outer))
		require.NoError(t, os.Mkdir(outer, 0o700))
		require.NoError(t, os.Chown(outer, 12345, 0))
		require.ErrorContains(t, makeDirs(path), "belongs to another user")
	}

	elsewhere := filepath.Join(run, "shop", "control")
	require.NoError(t, makeDirs(elsewhere))
	require.DirExists(t, filepath.Join(run, "shop"))
	require.Error(t, makeDirs(filepath.Join(run, "no", "such", "control")))
}
