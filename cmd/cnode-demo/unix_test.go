//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
)

func TestServeUnix(t *testing.T) {
	w := newHome(t, 1) // there is no port mapper, and none is needed
	t.Run("directory", func(t *testing.T) {
		dir := sockdir.New(t)
		s := w.serve("serve", "--name", "u@host", "--transport", "unix", "--listen", "unix:"+dir)
		require.Equal(t, filepath.Join(dir, "u@host"), s.place)
		require.Equal(t, "pong\n", w.succeed("ping", "u@host", "--transport", "unix", "--listen", "unix:"+dir))
		require.Equal(t, "[1]\n", w.succeed("call", "u@host", "cnode", "echo", "[[1]]", "--transport", "unix", "--listen", "unix:"+s.place))
		_, errOut := w.fail("serve", "--name", "u@host", "--transport", "unix", "--listen", "unix:"+dir)
		require.Contains(t, errOut, "belongs to a running node of that name")
		s.terminate(syscall.SIGTERM)
		require.NoFileExists(t, s.place)
		_, errOut = w.fail("ping", "u@host", "--transport", "unix", "--listen", "unix:"+dir)
		require.Contains(t, errOut, "No node of that name has its socket there")
	})
	t.Run("new directory", func(t *testing.T) {
		dir := filepath.Join(sockdir.New(t), "new")
		s := w.serve("serve", "--name", "u@host", "--transport", "unix", "--listen", "unix:"+dir+"/")
		require.Equal(t, filepath.Join(dir, "u@host"), s.place)
	})
	t.Run("path", func(t *testing.T) {
		path := filepath.Join(sockdir.New(t), "socket")
		s := w.serve("serve", "--name", "u@host", "--transport", "unix", "--listen", "unix:"+path)
		require.Equal(t, path, s.place)
		require.Equal(t, "pong\n", w.succeed("ping", "u@host", "--transport", "unix", "--listen", "unix:"+path))
		_, errOut := w.fail("ping", "v@host", "--transport", "unix", "--listen", "unix:"+path)
		require.Contains(t, errOut, "A node is there, but under another name")
	})
	t.Run("own directory", func(t *testing.T) {
		s := w.serve("serve", "--name", "u@host", "--transport", "unix")
		// it is the temporary folder, too
		require.True(t, strings.HasPrefix(s.place, w.home), s.place)
		require.Equal(t, "pong\n", w.succeed("ping", "u@host", "--transport", "unix"))
		info, err := os.Stat(filepath.Dir(s.place))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		require.NoError(t, os.Chmod(filepath.Dir(s.place), 0o755))
		_, errOut := w.fail("ping", "u@host", "--transport", "unix")
		require.Contains(t, errOut, "is open to other users (mode 0755)")
	})
	t.Run("XDG_RUNTIME_DIR", func(t *testing.T) {
		run := sockdir.New(t)
		w := newHome(t, 1)
		w.env = append(w.env, "XDG_RUNTIME_DIR="+run)
		s := w.serve("serve", "--name", "u@host", "--transport", "unix")
		require.Equal(t, filepath.Join(run, "cnode", "sockets", "u@host"), s.place)
		require.Equal(t, "pong\n", w.succeed("ping", "u@host", "--transport", "unix"))
	})
	t.Run("too long", func(t *testing.T) {
		w := newHome(t, 1)
		_, errOut := w.fail("serve", "--name", strings.Repeat("u", 120)+"@host", "--transport", "unix")
		require.Contains(t, errOut, "take a shorter directory")
	})
}

// An incomplete recording is a failure, even if the command's answer is there.
func TestTraceCutOff(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1")
	for _, tt := range []struct{ command, out string }{{"ping served@127.0.0.1", "pong\n"}, {"call served@127.0.0.1 cnode echo [1]", "1\n"}} {
		path := filepath.Join(w.home, "x.pcap")
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `trap "" XFSZ; ulimit -f 1; exec "$@"`, "sh", program},
			append(words(tt.command), "--trace", path)...)...)
		cmd.Env = append([]string{noPause}, w.env...)
		var out, errOut strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errOut
		require.Error(t, cmd.Run())
		require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), errOut.String())
		require.Equal(t, tt.out, out.String())
		require.Contains(t, errOut.String(), "--trace: write "+path)
	}
	s.terminate(syscall.SIGTERM)
}
