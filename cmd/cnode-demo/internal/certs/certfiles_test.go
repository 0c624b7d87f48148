package certs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// If a file cannot be written, certs leaves none behind, and can be tried again.
func TestCertsAllOrNone(t *testing.T) {
	dir := t.TempDir()
	theirs := filepath.Join(dir, KeyFile)
	require.NoError(t, os.WriteFile(theirs, nil, 0o600))
	require.ErrorIs(t, writeAll(dir, []file{{CaFile, nil}, {NodeFile, nil}, {KeyFile, nil}, {ConfFile, nil}}), os.ErrExist)
	there, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{theirs}, there)
}
