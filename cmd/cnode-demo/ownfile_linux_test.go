package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
)

// Without --binary an upgrade starts what is at the running program's own path now: the file that
// took its place, or what a link leads to.
func TestUpgradeToFileInPlace(t *testing.T) {
	for _, linked := range []bool{false, true} {
		t.Run(fmt.Sprintf("linked %v", linked), func(t *testing.T) {
			w := newHome(t, 0)
			path := filepath.Join(w.home, "cnode-demo")
			version := 0
			var newest os.FileInfo
			install := func() {
				version++
				file := filepath.Join(w.home, fmt.Sprint("version-", version))
				code, err := os.ReadFile(program)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, code, 0o700))
				newest, err = os.Stat(file)
				require.NoError(t, err)
				if linked {
					next := filepath.Join(w.home, "next")
					require.NoError(t, os.Symlink(file, next))
					file = next
				}
				// the old file, which still runs, has no name any more
				require.NoError(t, os.Rename(file, path))
			}
			running := func(pid int) os.FileInfo {
				info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
				require.NoError(t, err)
				return info
			}
			install()
			s := w.successive(nil, path, "serve", "--name", "up@127.0.0.1")
			pid := s.cmd.Process.Pid
			for range 2 { // the second upgrade is of a process that an upgrade has started
				require.True(t, os.SameFile(newest, running(pid)))
				install()
				require.False(t, os.SameFile(newest, running(pid)))
				pid = s.upgrade(pid)
			}
			require.True(t, os.SameFile(newest, running(pid)))
		})
	}
}

// Where there is no /proc, a program that was started by its name alone is found as the shell has
// found it.
func TestUpgradeWithoutProc(t *testing.T) {
	need.Root(t, "/proc is root's to hide")
	hidden := []string{need.Program(t, "unshare"), "--mount", "sh", "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh"}
	w := newHome(t, 0)
	w.env = append(w.env, "PATH="+filepath.Dir(program)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	s := w.successive(nil, append(hidden, filepath.Base(program), "serve", "--name", "up@127.0.0.1")...)
	s.upgrade(s.cmd.Process.Pid)
}
