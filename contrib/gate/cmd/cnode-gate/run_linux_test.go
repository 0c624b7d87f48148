package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// commandVariable has the test binary be the command.
const commandVariable = "CNODE_TEST_BE_GATE"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A running is the command and those that go on in its place; lines are of their log.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func start(t *testing.T, args ...string) *running {
	r := &running{t: t, cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 1000)}
	r.cmd.Env = append(os.Environ(), commandVariable+"=1")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := r.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		for range r.lines {
		}
		_ = r.cmd.Wait()
	})
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	return r
}

// says waits for a line of the log.
func (r *running) says(what string) string {
	r.t.Helper()
	for {
		line := expect.Returns(r.t, r.lines)
		if strings.Contains(line, what) {
			return line
		}
		require.NotEmpty(r.t, line, "it has ended, and has not said %q", what)
	}
}

func configured(t *testing.T) (path, config string) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.cookie"), []byte("a"), 0o600))
	path = filepath.Join(dir, "gate.config")
	config = `[{outside, [{cookie_file, "a.cookie"}, {names, ["*"]}]},
 {inside, [{cookie_file, "a.cookie"}, {nodes, [{"shop@host", [{address, "127.0.0.1:1"}, {path, "shop"}]}]}]},
 {rules, []}].`
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	return path, config
}

// The reason for which a new configuration is refused is in the gate's own log; a good one is
// taken.
func TestHangUp(t *testing.T) {
	path, config := configured(t)
	r := start(t, "run", path)
	r.says("listening")
	hangUp := func() { require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP)) }
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(config, "{rules, []}", "{rules, []}, {rules, []}", 1)), 0o600))
	hangUp()
	require.Contains(t, r.says("goes on as before"), "line 3: rules: it stands in line 3 as well")
	require.NoError(t, os.Remove(path))
	hangUp()
	require.Contains(t, r.says("goes on as before"), "no such file")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	hangUp()
	r.says("goes on in place of another process")
}

// At a loopback address the page is for users of this machine, under a name of this machine.
func TestPageForThisMachine(t *testing.T) {
	path, _ := configured(t)
	cfg, err := gate.ReadConfig(path)
	require.NoError(t, err)
	g, err := gate.New(cfg, nil)
	require.NoError(t, err)
	defer g.Close()
	log := slog.New(slog.DiscardHandler)
	for _, tt := range []struct {
		at, host string
		want     int
	}{
		{"127.0.0.1:0", "127.0.0.1", http.StatusOK}, {"127.0.0.1:0", "localhost:9120", http.StatusOK},
		{"127.0.0.1:0", "rebound.example", http.StatusForbidden}, {"0.0.0.0:0", "gate.example", http.StatusOK},
	} {
		s, err := serve(tt.at, g, log)
		require.NoError(t, err)
		for _, page := range []string{"/", "/sessions.json", "/metrics"} {
			r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, page, nil)
			r.Host, r.RemoteAddr = tt.host, "127.0.0.1:1"
			w := httptest.NewRecorder()
			s.Handler.ServeHTTP(w, r)
			require.Equal(t, tt.want, w.Code, "%v %s", tt, page)
		}
		require.NoError(t, s.Close())
	}
}

// A record that cannot be written is told at once, and at the end.
func TestRecordOnAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	said, log := io.Pipe()
	lines := bufio.NewScanner(said)
	made := make(chan *record, 1)
	go func() { made <- newRecord(full, slog.New(slog.NewTextHandler(log, nil))) }()
	for _, want := range []string{"recording", "no space left on device"} {
		require.True(t, lines.Scan())
		require.Contains(t, lines.Text(), want)
	}
	r := expect.Returns(t, made)
	require.ErrorIs(t, r.close(), syscall.ENOSPC)
}
