package config

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
)

// A file that existed, and that others could read, is private before the first message is in it.
func TestRecordingIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files there have no such mode")
	}
	path := filepath.Join(t.TempDir(), "x.pcap")
	require.NoError(t, os.WriteFile(path, []byte("of tcpdump"), 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	r, err := openRecording(path)
	require.NoError(t, err)
	require.NoError(t, r.Begin())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(recordingMode), info.Mode())
	require.NoError(t, r.Finish())
	t.Run("another user's", func(t *testing.T) {
		need.Root(t, "only root can give files away")
		require.NoError(t, os.Chown(path, 12345, 12345))
		r, err := openRecording(path)
		require.NoError(t, err)
		require.ErrorContains(t, r.Begin(), "belongs to another user")
		require.Error(t, r.Finish())
	})
}

// A recording whose beginning fails keeps nothing in memory, and is an error.
func TestRecordingFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	r, err := openRecording(path)
	require.NoError(t, err)
	require.NoError(t, r.capture.Flush())
	require.NotEmpty(t, r.early)
	whole := r.file
	r.file, err = os.Open(path) // opened for reading only
	require.NoError(t, err)
	require.NoError(t, whole.Close())
	require.ErrorContains(t, r.Begin(), "--trace: ")
	_, err = r.Write([]byte("x"))
	require.Error(t, err)
	require.Empty(t, r.early)
	require.ErrorContains(t, r.Finish(), "--trace: ", "although all that was captured has been flushed")
	require.NoFileExists(t, path, "there was none before")
}
