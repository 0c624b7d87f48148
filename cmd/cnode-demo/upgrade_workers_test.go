//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// children lists the live processes that a process has started.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, path := range threads {
		text, _ := os.ReadFile(path) // the thread may have ended
		for _, s := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(s)
			require.NoError(t, err)
			if !party.Ended(n) {
				list = append(list, n)
			}
		}
	}
	return list
}

// A session that cannot move is refused by a node with workers, whose log names the cipher suite
// and says what to do.
func TestWorkersRefuseWhatCannotMove(t *testing.T) {
	w := newHome(t, 0)
	dir := filepath.Join(w.home, "tls")
	w.succeed("certs", dir)
	conf := filepath.Join(dir, "ssl_dist.conf")
	b, err := os.ReadFile(conf)
	require.NoError(t, err)
	text := strings.ReplaceAll(string(b), "{versions,['tlsv1.3','tlsv1.2']}", `{versions,['tlsv1.2']},{ciphers,["ECDHE-ECDSA-AES128-SHA"]}`)
	require.NotEqual(t, string(b), text)
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	tls := []string{"--transport", "tls", "--tls-optfile", conf, "--log-level", "error"}
	s := w.serve("serve", append([]string{"--name", "alone@127.0.0.1"}, tls...)...)
	require.Equal(t, "pong\n", w.succeed(append([]string{"ping", s.name}, tls...)...))
	require.Empty(t, s.terminate(syscall.SIGTERM))

	s = w.serve("serve", append([]string{"--name", "many@127.0.0.1", "--workers", "1"}, tls...)...)
	out, _ := w.fail(append([]string{"ping", s.name}, tls...)...)
	require.Equal(t, "pang\n", out)
	said := s.terminate(syscall.SIGTERM)
	require.Contains(t, said, "level=ERROR")
	require.Contains(t, said, "TLS 1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA; only AES-GCM")
}

// A new process that fails leaves the old ones as they are: first one for the front, then one for a
// worker.
func TestUpgradeWorkersFails(t *testing.T) {
	t.Parallel() // it waits
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1", "--workers", "2")
	front := s.cmd.Process.Pid
	endsWithTest(t, front)
	_, c := dialed(t, w, s.name)
	worker := servedBy(t, c)
	outer := t
	same := func(t *testing.T) {
		t.Helper()
		require.Equal(t, worker, servedBy(t, c))
		require.Equal(t, "pong\n", w.succeed("ping", s.name))
		require.NoError(t, c.Err())
	}
	script := func(text string) string { return newProgram(t, text) }
	for _, tt := range []struct{ name, binary, want string }{
		{"has fewer workers", script(`exec "` + program + `" serve --name up@127.0.0.1 --workers 1`), "want 2 or more"},
		{"has none", script(`exec "` + program + `" serve --name up@127.0.0.1`), "cnode-upgrade-front-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errOut := w.fail("upgrade", s.name, "--binary", tt.binary)
			require.Empty(t, out)
			require.Contains(t, errOut, "serves on")
			require.Contains(t, errOut, tt.want)
			same(t)
		})
	}
	t.Run("of a worker that is stopped", func(t *testing.T) {
		require.NoError(t, syscall.Kill(worker, syscall.SIGSTOP))
		t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGCONT) })
		out, errOut := w.fail("upgrade", s.name)
		parts := words(out)
		require.Len(t, parts, 4)
		require.Equal(t, []string{"upgraded", s.name, strconv.Itoa(front)}, parts[:3])
		front, _ = strconv.Atoi(parts[3])
		endsWithTest(outer, front)
		require.Equal(t, s.name, s.ready())
		s.exits()
		require.Contains(t, errOut, "not all of its workers")
		require.Contains(t, errOut, fmt.Sprintf("(process %d)", worker))
		require.Equal(t, 1, strings.Count(errOut, "(process "))
		require.NoError(t, syscall.Kill(worker, syscall.SIGCONT))
		same(t)
	})
	front = s.upgrade(front)
	require.NotEqual(t, worker, servedBy(t, c))
	require.NoError(t, c.Err())
}

// When the first process of a shell's job ends while another one is stopped, the system tells all
// of them that their terminal has gone.
func TestUpgradeOfJob(t *testing.T) {
	own, err := unix.Getsid(0)
	require.NoError(t, err)
	// It is a shell in a container, whose children orphans become.
	if first, err := unix.Getsid(1); err == nil && first == own {
		t.Skip("process 1 is of this session: the system does not take the terminal for gone")
	}
	w := newHome(t, 0)
	w.job = true
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1", "--workers", "2")
	_, c := dialed(t, w, s.name)
	workers := children(t, s.cmd.Process.Pid)
	other := workers[0]
	if other == servedBy(t, c) {
		other = workers[1]
	}
	require.NoError(t, syscall.Kill(other, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(other, syscall.SIGCONT) })
	front := s.upgrade(s.cmd.Process.Pid)
	s.exits()
	front = s.upgrade(front)
	require.NoError(t, c.Err())
	require.Contains(t, children(t, front), servedBy(t, c))
	require.Len(t, children(t, front), 2)
}

// A serve with workers that is started by hand takes a running one's place; one without does not,
// nor the other way round.
func TestTakeoverWorkers(t *testing.T) {
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1", "--workers", "2")
	_, c := dialed(t, w, s.name)
	errOut := w.refused("--name", "up@127.0.0.1")
	require.Contains(t, errOut, "cnode-upgrade-front-2")
	require.Contains(t, errOut, "give --workers N")
	errOut = w.refused("--name", "up@127.0.0.1", "--workers", "2", "--listen", "127.0.0.1:1")
	require.Contains(t, errOut, upgrade.ErrListens.Error())
	next := w.takesOver("--name", "up@127.0.0.1", "--workers", "3")
	s.exits()
	front := next.cmd.Process.Pid
	require.Eventually(t, func() bool {
		return len(children(t, front)) == 3 && slices.Contains(children(t, front), servedBy(t, c))
	}, waitLimit, waitLimit/6000)
	require.NoError(t, c.Err())
	w.successive(nil, program, "serve", "--name", "plain@127.0.0.1")
	errOut = w.refused("--name", "plain@127.0.0.1", "--workers", "2")
	require.Contains(t, errOut, "cnode-upgrade-node-2")
	require.Contains(t, errOut, "give --workers N")
}
