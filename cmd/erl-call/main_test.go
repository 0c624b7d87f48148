package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/stretchr/testify/require"
)

// asProgram, in the environment, makes the test's program the one under test.
const asProgram = "CNODE_TEST_ERL_CALL"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(leak.Run(m))
}

// limit bounds a command of a test: ten times what a busy machine needs.
const limit = 60 * time.Second

// A place is where a command runs: its directory, which is its home, too, and the port mapper that
// it asks.
type place struct {
	dir  string
	epmd int
}

// A result is what came of a command.
type result struct {
	out, errOut string
	code        int // 128 and its number if a signal has ended it
}

// run runs a command, and waits for its end.
func (p place) run(t testing.TB, program, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"HOME=" + p.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.Getenv("TMPDIR"), party.AtExit(),
		"ERL_EPMD_PORT=" + strconv.Itoa(p.epmd), asProgram + "=yes"}
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%v\n%s", args, errOut.String())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	r := result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		r.code = 128 + int(s.Signal())
	}
	return r
}

// ours is the program under test.
func ours(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// What needs no node. erl_call has the same exit codes, where the test of what is the same says so.
func TestUsage(t *testing.T) {
	p := place{t.TempDir(), 1} // nobody's port
	for _, c := range []struct {
		args string
		code int
		says string // on the standard error
	}{
		{"", 0, "which node?"},
		{"-?", 0, "Usage"}, // as erl_call; -help is the output
		{"-z", 1, "-z"},
		{"-name", 1, "-name"},
		{"-name x y", 1, `"y" is no option`},
		{"-m -e -name x", 0, "both read the standard input"},
		{"-address 1 -name x", 0, "-address excludes"},
		{"-address 1 -s", 0, "-address excludes"},
		{"-address 0", 1, "from 1 to 65535"},
		{"-address 65536", 1, "from 1 to 65535"},
		{"-address x:y", 1, "from 1 to 65535"},
		{"-address ::1", 1, "too many colons"},
		{"-timeout 0 -name x", 1, "want seconds"},
		{"-timeout 1048576 -name x", 1, "want seconds"},
		{"-timeout x -name x", 1, "want seconds"},
		{"-name x@127.0.0.1 -c c", 1, "x@127.0.0.1"},
		{"-name x@127.0.0.1 -c c -q", 0, ""},
		{"-name x@127.0.0.1", 1, "cookie"},
		{"-name @127.0.0.1 -c c", 1, "@127.0.0.1"},
		{"-name x@127.0.0.1 -c c -ssl_dist_optfile missing.conf", 1, "missing.conf"},
		{"-name x@127.0.0.1 -c c -s -x nowhere/erl", 1, "nowhere/erl"},
		{"-name x@127.0.0.1 -c c -s -x true", 1, "true has ended before the node was up"},
		{"-name x@127.0.0.1 -c c -h a/b", 1, "a/b"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := p.run(t, ours(t), "", strings.Fields(c.args)...)
			require.Equal(t, c.code, r.code, r.errOut)
			require.Contains(t, r.errOut, c.says)
			require.Empty(t, r.out)
		})
	}
	r := p.run(t, ours(t), "", "--help")
	require.Zero(t, r.code)
	require.Contains(t, r.out, "Usage")
	require.Empty(t, r.errOut)
	r = p.run(t, ours(t), "", "--version")
	require.Equal(t, result{"erl-call version " + version() + "\n", "", 0}, r)
	r = p.run(t, ours(t), "", "-name", "x", "-a", " ")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errOut, "want 'MOD [FUN [ARGS]]'")
	r = p.run(t, ours(t), "foo() -> ok.", "-name", "x", "-c", "c", "-m")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errOut, "-module(NAME) is missing")
}

// A command that waits for its standard input ends in time, too. Whoever reads its output gets
// nothing, as from erl_call.
func TestTimeoutOfInput(t *testing.T) {
	for _, flags := range []string{"", "-v", "-d"} {
		in, w, err := os.Pipe()
		require.NoError(t, err)
		defer in.Close()
		defer w.Close()
		cmd := exec.Command(ours(t), append(strings.Fields(flags), "-name", "x@127.0.0.1", "-m", "-timeout", "1")...)
		cmd.Env, cmd.Stdin = []string{asProgram + "=yes", party.AtExit()}, in
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		require.Error(t, err)
		require.Equal(t, exitTime, cmd.ProcessState.ExitCode())
		require.Empty(t, string(out)+errOut.String())
	}
}
