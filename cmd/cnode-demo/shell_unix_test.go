//go:build unix

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
)

// An address with a mistake in it makes no directories; one more, with a final /, is made.
func TestListenMakesNoPath(t *testing.T) {
	w := newHome(t, 1)
	dir := sockdir.New(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		dir + "/no/such/": "there is no directory " + dir + "/no in which to make it",
		dir + "/no/such":  "there is no directory " + dir + "/no: make it first",
		file + "/socket":  file + " is no directory",
		file + "/":        file + " is no directory",
	} {
		_, errOut := w.fail("serve", "--name", "u@host", "--transport", "unix", "--listen", "unix:"+path)
		require.Contains(t, errOut, "--listen unix:"+path+": ")
		require.Contains(t, errOut, want)
	}
	require.NoDirExists(t, filepath.Join(dir, "no"))
}

// stay has the exit status of a shell where the program is not found, or cannot be run.
func TestStayCannotRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("stay is Linux's")
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	for _, tt := range []struct {
		program string
		code    int
		want    string
	}{
		{"cnode-demo-nowhere", 127, "not found"},
		{filepath.Join(dir, "nowhere"), 127, "no such file"},
		{write("plain", "text", 0o600), 126, "permission denied"},
		{dir, 126, "is a directory"},
		{write("format", "echo", 0o700), 126, "A script needs a first line"},
		{write("interpreter", "#!/no/such/sh\n", 0o700), 127, "no such file"},
	} {
		r := execute(t, []string{"PATH=" + dir}, "stay", "--", tt.program)
		require.Equal(t, tt.code, r.code, tt.program)
		require.Contains(t, r.err, tt.want)
	}
	require.Equal(t, 3, execute(t, []string{"PATH=" + os.Getenv("PATH")}, "stay", "sh", "-c", "exit 3").code)
}
