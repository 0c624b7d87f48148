package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// A control socket that could not be made at the start is made later.
func TestControlComesLater(t *testing.T) {
	w := newHome(t, 0)
	run := filepath.Join(sockdir.New(t), "run")
	w.env = append(w.env, "XDG_RUNTIME_DIR="+run)
	s := w.serve("serve", "--name", "up@127.0.0.1")
	s.waitFor("no control socket, so nobody can ask this process for an upgrade or take over")
	require.NoError(t, os.Mkdir(run, 0o700))
	path := filepath.Join(run, "cnode", s.name, "control")
	require.Eventually(t, func() bool { return exists(path) }, waitLimit, time.Millisecond)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Nodes with long names, and in long directories, are upgraded like any other.
func TestUpgradeOfLongName(t *testing.T) {
	w := newHome(t, 0)
	long := filepath.Join(w.home, strings.Repeat("d", 100))
	require.NoError(t, os.Mkdir(long, 0o700))
	w.env = append(w.env, "XDG_RUNTIME_DIR="+long)
	for _, alive := range []string{strings.Repeat("n", 69), strings.Repeat("n", 200)} {
		name := alive + "@127.0.0.1"
		s := w.successive(nil, program, "serve", "--name", name)
		s.upgrade(s.cmd.Process.Pid)
		s.exits()
	}
}
