package project

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// goProgram builds a version of the program of testdata at a path.
func goProgram(t *testing.T, path string, version int) {
	t.Helper()
	source, err := os.ReadFile("testdata/pricing.go.txt")
	require.NoError(t, err)
	folder, err := os.MkdirTemp("testdata", "built-")
	require.NoError(t, err)
	defer os.RemoveAll(folder)
	text := replaced(t, string(source), "version = 1", fmt.Sprintf("version = %d", version))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(text), 0o600))
	require.NoError(t, os.RemoveAll(path))
	cmd := exec.Command("go", "build", "-o", path, "./"+folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the root file system has another C library
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// compiled is the folder with the compiled modules of the package.
func compiled(t *testing.T, d *desk, r otp.Release) string {
	t.Helper()
	require.NoError(t, os.CopyFS(filepath.Join(d.dir, "src"), os.DirFS("../../../beam/cnode/src")))
	ebin := filepath.Join(d.dir, "ebin")
	require.NoError(t, os.Mkdir(ebin, 0o755))
	files, err := filepath.Glob(d.dir + "/src/*.erl")
	require.NoError(t, err)
	out, err := exec.Command(r.Command("erlc"), append([]string{"-Werror", "+debug_info", "-o", ebin}, files...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	app, err := os.ReadFile(d.dir + "/src/cnode.app.src")
	require.NoError(t, err)
	d.file("ebin/cnode.app", replaced(t, string(app), "{registered", "{modules, []}, {registered"))
	return ebin
}

// children starts a BEAM with a supervisor, whose children the test starts.
func children(t *testing.T, d *desk, r otp.Release, ebin string) *system {
	return d.start(d.command(r.Erl, "-noinput", "-name", beam, "-pa", ebin, "-kernel", "logger_level", "info", "-eval",
		"{ok, _} = application:ensure_all_started(cnode), io:format(\"supervises~n\")."), "supervises").asks()
}

// child starts a child.
func (s *system) child(options string) string {
	s.t.Helper()
	return s.eval("supervisor:start_child(cnode_sup, cnode_node:child_spec(" + options + "))")
}

// eval evaluates an expression, and gives the text of its value.
func (s *system) eval(expression string) string {
	s.t.Helper()
	tokens := second(s, "erl_scan", "string", ask[ei.Term](s, beam, "erlang", "binary_to_list", expression+"."))
	parsed := second(s, "erl_parse", "parse_exprs", tokens)
	value := ask[ei.Tuple](s, beam, "erl_eval", "exprs", parsed, ei.List{})
	return value[1].String()
}

// second is the second element of what a function returns, the first of which is ok.
func second(s *system, module, function string, arg any) ei.Term {
	s.t.Helper()
	tuple := ask[ei.Tuple](s, beam, module, function, arg)
	require.Equal(s.t, ei.Atom("ok"), tuple[0], "%v", tuple)
	return tuple[1]
}

// What holds with Elixir holds with every OTP, where the Erlang module is all there is.
func TestErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		d := newDesk(t)
		ebin, path := compiled(t, d, r), filepath.Join(d.dir, "pricing")
		goProgram(t, path, 1)
		options := fmt.Sprintf(`#{path => "%s", stop_timeout => 20000, id => a}`, path)

		s := children(t, d, r, ebin)
		require.Contains(t, s.child(options), "{ok,")
		s.supervised(path, func(version int) { goProgram(t, path, version) })
		s.hangs(options)
		s.dies()

		s = children(t, d, r, ebin)
		s.taken(path, options)
		s.stops()

		s = children(t, d, r, ebin)
		s.watches(path)
		s.refuses(path)
	})
}

// hangs: a program that hangs is killed when it has had its time.
func (s *system) hangs(options string) {
	t := s.t
	t.Helper()
	pid := s.info().OSPid
	require.Equal(t, "ok", s.eval("supervisor:terminate_child(cnode_sup, {cnode_node, a})"))
	gone(t, pid, "the program outlives its child")
	require.Equal(t, "ok", s.eval("supervisor:delete_child(cnode_sup, {cnode_node, a})"))
	require.Contains(t, s.child(strings.Replace(options, "20000", "300", 1)), "{ok,")
	pid = s.info().OSPid
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Equal(t, "ok", s.eval("supervisor:terminate_child(cnode_sup, {cnode_node, a})"))
	gone(t, pid, "the program hangs on")
	require.Equal(t, "ok", s.eval("supervisor:delete_child(cnode_sup, {cnode_node, a})"))
	require.Contains(t, s.child(options), "{ok,")
}

// byHand starts the program as nobody's child, and waits until it is ready.
func (s *system) byHand(path string) *otp.Program {
	s.t.Helper()
	cmd := exec.Command(path)
	cmd.Env = append(s.d.environ, "CNODE_NODE="+goNode)
	return otp.Serve(s.t, cmd)
}

// taken: a child waits until nobody else has its name, for so long.
func (s *system) taken(path, options string) {
	t := s.t
	t.Helper()
	other := s.byHand(path)
	late := s.child(strings.Replace(options, "#{", "#{ready_timeout => 1000, ", 1))
	require.Regexp(t, `^{error,{({exit_status,75|not_ready),`, late) // by how long a program takes to start
	started := make(chan string, 1)
	go func() { started <- s.child(strings.Replace(options, "#{", "#{ready_timeout => 60000, ", 1)) }()
	before := strings.Count(s.log.String(), "already registered")
	s.says("already registered", before+1)
	other.Kill()
	require.Contains(t, <-started, "{ok,")
}

// watches: a unit's node is connected whenever it is there, the state of the unit is told, and an
// upgrade is a reload.
func (s *system) watches(path string) {
	t := s.t
	t.Helper()
	s.d.file("systemctl", fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s/asked\ncat %[1]s/unit\n", s.d.dir))
	require.NoError(t, os.Chmod(s.d.dir+"/systemctl", 0o755))
	unit := func(state, result string, pid int) {
		s.d.file("unit", fmt.Sprintf("ActiveState=%s\nSubState=%s\nResult=%s\nMainPID=%d\n", state, state, result, pid))
	}
	unit("inactive", "success", 0)
	options := `#{unit => "pricing.service", systemctl => ["%s/systemctl", "--user"], ready_timeout => 100, id => unit}`
	require.Contains(t, s.child(fmt.Sprintf(options, s.d.dir)), "{ok,")
	s.says("the unit is inactive (inactive), its result success", 1)
	require.Contains(t, s.eval(fmt.Sprintf("cnode_node:info('%s')", goNode)), "os_pid => undefined")
	p := s.byHand(path)
	unit("active", "success", p.Pid())
	require.Equal(t, p.Pid(), s.returns(0))
	unit("failed", "signal", 0)
	p.Kill()
	s.says("the unit is failed (failed), its result signal", 1)
	p = s.byHand(path)
	unit("active", "success", p.Pid())
	require.Equal(t, p.Pid(), s.returns(0))
	require.Equal(t, ei.Atom("ok"), ask[ei.Atom](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)))
	asked, err := os.ReadFile(s.d.dir + "/asked")
	require.NoError(t, err)
	require.Contains(t, string(asked), "--user reload pricing.service\n")
	require.Equal(t, "ok", s.eval("supervisor:terminate_child(cnode_sup, {cnode_node, unit})"))
	require.NoError(t, syscall.Kill(p.Pid(), 0), "the unit is systemd's")
	p.Kill()
}

// refuses: what cannot be is an error that says so.
func (s *system) refuses(path string) {
	t := s.t
	t.Helper()
	require.Contains(t, s.child(`#{path => "/no/program", id => x}`), `{no_program,"/no/program"}`)
	require.Contains(t, s.child(`#{program => pricing, id => x}`), "{no_program,", "of the application whose supervisor it is")
	require.Contains(t, s.child(`#{program => pricing, app => stdlib, id => x}`), "{no_program,")
	require.Contains(t, s.child(`#{unit => "u", path => "p", id => x}`), "exactly one of program, path and unit")
	require.Contains(t, s.child(`#{path => "/bin/true", id => x}`), "{exit_status,0,")
	require.Contains(t, s.child(`#{path => "/bin/cat", id => x, ready_timeout => 300}`), "not_ready")
	mute := s.child(`#{path => "/bin/sh", args => ["-c", "echo ready; cat"], id => x, ready_timeout => 1000}`)
	require.Regexp(t, "^{error,{not_(connected|ready),", mute) // by how long a shell takes to start
	s.d.file("text", "no program")
	require.Contains(t, s.child(fmt.Sprintf(`#{path => "%s/text", id => x}`, s.d.dir)), "{cannot_start,")
}
