package tutorial

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
)

var generator = otp.Demo{Program: "cnode-gen"}

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, generator.Remove))) }

// patience is how long something may take to be seen: everything is compiled for the first time, on
// a busy machine.
const patience = 10 * expect.Limit

// A reader has a folder, at first empty, and terminals. Go is below the folder, too, where a
// program with a root file system of its own finds it.
type reader struct {
	t       *testing.T
	elixir  otp.Elixir
	dir     string // HOME
	at      string // where the terminals are, below dir
	environ []string
	mounts  string
	last    *terminal // of the commands that end
	goes    *terminal // the Go program, while it runs
	shells  []*shell  // iex, the last one is typed into
	port    string    // of the probe
	count   int       // of the shells so far
}

// A terminal shows what a program writes. Those that type, and those that look, are at places of
// their own.
type terminal struct {
	cmd          *exec.Cmd
	ended        chan struct{}
	mu           sync.Mutex
	text         bytes.Buffer
	typed, shown int
}

// A shell is iex or erl, whose lines come through a pipe with a name.
type shell struct {
	*terminal
	keys *os.File
	node string
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *terminal) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func newReader(t *testing.T, e otp.Elixir) *reader {
	need.Root(t, "only root can give a root file system the folder of Go")
	r := &reader{t: t, elixir: e, dir: t.TempDir(), last: &terminal{}}
	for _, m := range [][2]string{{goEnv(t, "GOROOT"), "go"}, {goEnv(t, "GOCACHE"), "cache"}} {
		at := filepath.Join(r.dir, m[1])
		require.NoError(t, os.Mkdir(at, 0o755))
		r.mounts += fmt.Sprintf("mount --bind '%s' '%s'\n", m[0], at)
	}
	for _, folder := range []string{"bin", "work", "run"} {
		require.NoError(t, os.Mkdir(filepath.Join(r.dir, folder), 0o700))
	}
	program, err := os.ReadFile(generator.Path(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.dir+"/bin/cnode-gen", program, 0o755))
	r.at = "work"
	r.environ = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8",
		"HOME="+r.dir, "XDG_RUNTIME_DIR="+r.dir+"/run", "GOROOT="+r.dir+"/go", "GOPATH="+r.dir+"/gopath",
		"GOCACHE="+r.dir+"/cache", "GOMODCACHE="+r.dir+"/modules", "PATH="+r.dir+"/go/bin:"+r.dir+"/bin:"+os.Getenv("PATH"),
		"GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath")
	r.environ = append(r.environ, otp.Published(t, "../../..", r.dir)...)
	r.port = strconv.Itoa(port.Free(t))
	r.brings("phoenix_pubsub", os.Getenv("CNODE_TEST_BEAM_PEERS"))
	t.Cleanup(r.leave)
	return r
}

// brings copies a Hex package, but for what its documentation needs: mix would ask for Hex.
func (r *reader) brings(name, from string) {
	if from == "" {
		return
	}
	require.NoError(r.t, os.CopyFS(filepath.Join(r.dir, name, "lib"), os.DirFS(filepath.Join(from, name, "lib"))))
	project, err := os.ReadFile(filepath.Join(from, name, "mix.exs"))
	require.NoError(r.t, err)
	project = regexp.MustCompile(`\{:ex_doc,.*\}`).ReplaceAll(project, nil)
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, name, "mix.exs"), project, 0o644))
}

// leave closes all terminals.
func (r *reader) leave() {
	if r.t.Failed() {
		for _, s := range r.shells {
			r.t.Logf("%s:\n%s", s.node, s)
		}
		if r.goes != nil {
			r.t.Logf("the Go program:\n%s", r.goes)
		}
	}
	r.leaveShells()
	r.interrupt(syscall.SIGTERM)
}

// starts starts a program of the mounts, in a process group of its own.
func (r *reader) starts(program string, args ...string) *terminal {
	r.t.Helper()
	s := &terminal{ended: make(chan struct{})}
	s.cmd = exec.Command("unshare", append([]string{"--mount", "sh", "-ec", r.mounts + `cd "$0"; exec "$@"`,
		filepath.Join(r.dir, r.at), program}, args...)...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = r.environ, s, s, expect.Limit
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(r.t, s.cmd.Start())
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return s
}

// inElixir is starts for lines of a shell in Elixir's root file system, which has neither Go nor
// the folder in its path.
func (r *reader) inElixir(lines string) *terminal {
	return r.starts(r.elixir.Program, "-e", fmt.Sprintf(
		`System.put_env("PATH", "%[1]s/go/bin:%[1]s/bin:" <> System.get_env("PATH")); File.cd!("%[1]s/%[2]s");
		{_, s} = System.cmd("sh", ["-ec", %[3]s], into: IO.stream(:stdio, :line), stderr_to_stdout: true); System.halt(s)`,
		r.dir, r.at, strings.ReplaceAll(strconv.Quote(lines), "#{", "\\#{")))
}

// ends waits for a command, which has to succeed.
func (r *reader) ends(s *terminal, line string) {
	r.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
	}
	require.True(r.t, s.cmd.ProcessState.Success(), "%s\n%s", line, s)
	r.last = s
}

// interrupt ends the Go program, as Ctrl-C does, and what has taken over from it.
func (r *reader) interrupt(signal syscall.Signal) {
	if r.goes == nil {
		return
	}
	group := -r.goes.cmd.Process.Pid
	_ = syscall.Kill(group, signal)
	expectGone := time.Now().Add(expect.Limit)
	for syscall.Kill(group, 0) == nil && time.Now().Before(expectGone) {
		time.Sleep(time.Millisecond)
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-r.goes.ended
	r.goes = nil
}

// opens starts iex or erl.
func (r *reader) opens(line string) *shell {
	r.t.Helper()
	r.count++
	pipe := fmt.Sprintf("%s/keys%d", r.dir, r.count)
	require.NoError(r.t, syscall.Mkfifo(pipe, 0o600))
	s := &shell{node: regexp.MustCompile(`\w+@[\w.]+`).FindString(line)}
	s.terminal = r.inElixir("exec " + line + " <" + pipe)
	var err error
	s.keys, err = os.OpenFile(pipe, os.O_RDWR, 0) // does not wait for the other end
	require.NoError(r.t, err)
	return s
}

func (r *reader) leaves(s *shell, end string) {
	_, _ = s.keys.WriteString(end)
	select {
	case <-s.ended:
	case <-time.After(expect.Limit):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
	}
	s.keys.Close()
}

func (r *reader) leaveShells() {
	for _, s := range r.shells {
		r.leaves(s, "System.stop()\n")
	}
	r.shells = nil
}

var prompt = regexp.MustCompile(`(?m)(?:(?:iex|\.\.\.)(?:\([^)]*\))?\d*> ?|^(?:\(\w+@[\w.]+\))?\d+> )`)

// pattern is what matches a line that should be seen. Long lines may be broken.
func pattern(line string) string {
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), "…", `[\s\S]*?`)
	}
	return strings.Join(words, `\s+`)
}

// answers waits until a shell has answered a line, by these lines in any order: other processes
// write there, too.
func (r *reader) answers(s *shell, line string, answers []string) {
	r.t.Helper()
	end := s.typed
	for _, answer := range answers {
		shape := pattern(answer)
		if strings.Contains(line, "get_state") { // as the page says
			shape = `(?:\{:?ok,\s*)?` + shape + `\}?`
		}
		want := regexp.MustCompile(`(?m)^\s*` + shape + `\s*$`)
		require.Eventually(r.t, func() bool {
			text := prompt.ReplaceAllString(s.String(), "\n")
			at := want.FindStringIndex(text[min(s.typed, len(text)):])
			if at != nil {
				end = max(end, s.typed+at[1])
			}
			return at != nil
		}, patience, 5*time.Millisecond, "%s\nshould be answered by\n%s", line, answer)
	}
	s.typed = end
}

// sees waits until one of the terminals has shown a line.
func (r *reader) sees(line string) {
	r.t.Helper()
	want := regexp.MustCompile(pattern(line))
	require.Eventually(r.t, func() bool {
		all := []*terminal{r.last}
		if r.goes != nil {
			all = append(all, r.goes)
		}
		for _, s := range r.shells {
			all = append(all, s.terminal)
		}
		for _, s := range all {
			if at := want.FindStringIndex(s.String()[s.shown:]); at != nil {
				s.shown += at[1]
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond, "nobody shows %s\nthe last command: %s", line, r.last)
}
