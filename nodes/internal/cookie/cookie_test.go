package cookie

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func TestRead(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("AppData", filepath.Join(home, "settings"))
	_, err := Read()
	require.ErrorIs(t, err, ErrNone)
	require.ErrorIs(t, err, os.ErrNotExist)
	settings, err := os.UserConfigDir()
	require.NoError(t, err)
	_, err = Read()
	require.ErrorContains(t, err, settings)
	second := filepath.Join(settings, "erlang", ".erlang.cookie")
	require.NoError(t, os.MkdirAll(filepath.Dir(second), 0o700))
	require.NoError(t, os.WriteFile(second, []byte("settled\n"), 0o400))
	got, err := Read()
	require.NoError(t, err)
	require.Equal(t, "settled", got)
	path := filepath.Join(home, ".erlang.cookie")
	for text, want := range map[string]string{"one\n": "one", "two": "two", "three\r\nmore\n": "three"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := Read()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err = Read()
	require.ErrorIs(t, err, ErrNone)
	require.ErrorContains(t, err, "empty")
	if runtime.GOOS != "windows" {
		for _, mode := range []os.FileMode{0o440, 0o602} {
			require.NoError(t, os.Chmod(path, mode))
			_, err = Read()
			require.ErrorIs(t, err, ErrNone)
			require.ErrorContains(t, err, "chmod 400")
		}
	}
}

// A cookie that Erlang most likely has in other bytes, or cannot have, causes a warning.
func TestJudge(t *testing.T) {
	for cookie, want := range map[string]string{
		"plain": "", "s\u00e9cret": "Latin-1", "s\xe9cret": "Latin-1",
		strings.Repeat("x", ei.MaxAtomChars): "", strings.Repeat("x", ei.MaxAtomChars+1): "than an atom",
	} {
		var log bytes.Buffer
		Judge(cookie, slog.New(slog.NewTextHandler(&log, nil)))
		if want == "" {
			require.Empty(t, log.String(), cookie)
		} else {
			require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), cookie)
			require.Contains(t, log.String(), want)
		}
	}
}
