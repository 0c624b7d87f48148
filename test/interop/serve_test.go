package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/stretchr/testify/require"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 5 * time.Minute

// The programs that were built, and the directory they are in.
var built struct {
	sync.Mutex
	dir      string
	programs map[string]string
}

// program builds a command of the module, given by its directory, once, with the race detector if
// the tests have it, and returns its path.
func program(t testing.TB, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "cnode-interop-")
		require.NoError(t, err)
		built.dir, built.programs = dir, map[string]string{}
	}
	if path, ok := built.programs[name]; ok {
		return path
	}
	path := filepath.Join(built.dir, filepath.Base(name))
	args := []string{"build", "-o", path}
	if race.Enabled {
		args = append(args, "-race")
	}
	args = append(args, "github.com/cnode-go/cnode/"+name)
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	built.programs[name] = path
	return path
}

func removeBuilt() { os.RemoveAll(built.dir) }

// A served is a running cnode-demo serve.
type served struct {
	*otp.Program
	toEnd bool // the test ends it
}

// serve starts cnode-demo serve. It must live until the test ends it with stop or kill, or to the
// end, and be free of data races.
func serve(t *testing.T, epmdPort int, args ...string) *served {
	t.Helper()
	return serveAs(t, uniqueName(), epmdPort, args...)
}

func serveAs(t *testing.T, name string, epmdPort int, args ...string) *served {
	t.Helper()
	cmd := exec.Command(program(t, "cmd/cnode-demo"), append([]string{"serve", "--name", name, "--cookie", otp.DefaultCookie, "--log-level",
		"info"}, args...)...)
	if usual.fault != "" {
		cmd.Args = append(cmd.Args, "--fault", usual.fault)
	}
	if usual.file != "" {
		cmd.Args = append(cmd.Args, "--transport", "tls", "--tls-optfile", usual.file)
	}
	cmd.Env = gonode.Environment(t, epmdPort)
	s := &served{Program: otp.Serve(t, cmd)}
	t.Cleanup(func() {
		if !s.toEnd {
			select {
			case <-s.Done():
				t.Error("cnode-demo serve has ended by itself")
			default:
				s.stop(t)
			}
		}
		if log := s.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			t.Errorf("cnode-demo serve says:\n%s", log)
		}
	})
	require.Equal(t, name, s.Name)
	return s
}

var names struct {
	sync.Mutex
	last int
}

// uniqueName is a node name that no other test of this process uses.
func uniqueName() string {
	names.Lock()
	defer names.Unlock()
	names.last++
	return fmt.Sprintf("cnode%d@127.0.0.1", names.last)
}

// stop asks the program to end, and waits for it.
func (s *served) stop(t *testing.T) {
	t.Helper()
	s.toEnd = true
	process, err := os.FindProcess(s.Pid())
	require.NoError(t, err)
	defer process.Release() // it has a descriptor
	require.NoError(t, process.Signal(syscall.SIGTERM))
	select {
	case <-s.Done():
	case <-time.After(limit):
		t.Error("cnode-demo serve does not end after SIGTERM")
	}
}

// kill ends the program as a crash does.
func (s *served) kill() {
	s.toEnd = true
	s.Kill()
}

// A pair is a real Erlang node and a cnode-demo serve that can meet.
type pair struct {
	erl  *otp.Node
	demo *served
}

func newPair(t *testing.T, r otp.Release, extraArgs ...string) pair {
	t.Helper()
	port := r.Epmd(t)
	return pair{
		erl:  start(t, r, otp.Options{EpmdPort: port, ExtraArgs: extraArgs}),
		demo: serve(t, port),
	}
}

// eval evaluates an expression in which N stands for the name of the served node, an atom.
func (p pair) eval(t *testing.T, expr string) string {
	t.Helper()
	return p.erl.Eval(t, p.about(expr))
}

func (p pair) about(expr string) string { return "N = '" + p.demo.Name + "', " + expr }

// is checks the values of expressions. In a value {N} stands for the node's name.
func (p pair) is(t *testing.T, tests [][2]string) {
	t.Helper()
	for _, tt := range tests {
		require.Equal(t, strings.ReplaceAll(tt[1], "{N}", "'"+p.demo.Name+"'"), p.eval(t, tt[0]), tt[0])
	}
}

// Everything that Erlang does with a served node in testdata/serve.txt has the value that stands
// there. At last the program dies, and Erlang is told.
func TestServe(t *testing.T) {
	text, err := os.ReadFile("testdata/serve.txt")
	require.NoError(t, err)
	otp.Together(t, func(t *testing.T, r otp.Release) {
		p := newPair(t, r)
		var title, asked string
		for line := range strings.Lines(string(text)) {
			value, ok := strings.CutPrefix(strings.TrimSpace(line), "=> ")
			switch {
			case line == "\n" || line[0] == '%':
			case line[0] == '#':
				title = strings.TrimSpace(line)
				require.Equal(t, "exit:killed", p.eval(t, "exit(self(), kill), receive after infinity -> ok end"))
			case ok:
				require.Equal(t, strings.ReplaceAll(value, "{N}", "'"+p.demo.Name+"'"), p.eval(t, asked), "%s: %s", title, asked)
				asked = ""
			default:
				asked += line
			}
		}
		require.Equal(t, "# monitors", title)
		p.demo.kill()
		require.Equal(t, `noconnection`, p.eval(t, `receive {gone, _, process, {peer, N}, Why} -> Why after 20000 -> none end`))
	})
}
