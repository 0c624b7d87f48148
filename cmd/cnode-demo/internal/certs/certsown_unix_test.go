//go:build unix

package certs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
)

// Certificates are not written where another user could exchange them, nor through another user's
// link.
func TestCertsBesideNobodyElse(t *testing.T) {
	need.Root(t, "only root can make a directory of somebody else")
	dir := t.TempDir()
	theirs, link := filepath.Join(dir, "theirs"), filepath.Join(dir, "link")
	require.NoError(t, os.Mkdir(theirs, 0o777))
	require.NoError(t, os.Chown(theirs, 12345, 12345))
	require.NoError(t, os.Symlink(t.TempDir(), link))
	require.NoError(t, os.Lchown(link, 12345, 12345))
	for _, at := range []string{theirs, link} {
		require.ErrorContains(t, Write(at, nil, time.Now()), at+" belongs to another user")
		entries, err := os.ReadDir(at)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}
