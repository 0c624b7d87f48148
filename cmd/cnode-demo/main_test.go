package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
)

// program is the path of the command under test, built with the race detector where the test is.
var program string

// waitLimit bounds every wait of a test: ten times what a busy machine needs.
const waitLimit = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(diesVariable) != "" {
		dieAsOwner()
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cnode-demo-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cnode-demo.exe")
	build := exec.Command("go", "build", "-tags", "cnodesteps", "-o", program)
	if race.Enabled {
		build.Args = append(build.Args, "-race")
	}
	build.Args = append(build.Args, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return leak.Run(m)
}

// A result is what came of a command that has ended.
type result struct {
	code     int
	out, err string
}

// noPause spares a program with the race detector the second that it would wait for late reports at
// its end.
const noPause = "GORACE=atexit_sleep_ms=0"

// execute runs the program to its end. env is the whole environment.
func execute(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{noPause}, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd, err)
	}
	require.NoError(t, ctx.Err(), "%v does not end", cmd)
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

func TestCommandLine(t *testing.T) {
	env := []string{"HOME=" + t.TempDir(), "ERL_EPMD_PORT=1"} // where nobody listens
	for _, tt := range []struct {
		args string
		want string
	}{
		{"serv", `unknown command or argument "serv"; did you mean serve?`},
		{"help serv", `unknown command or argument "serv"; did you mean serve?`},
		{"pnig", `unknown command or argument "pnig"; did you mean ping?`},
		{"help pnig", `unknown command or argument "pnig"; did you mean ping?`},
		{"serve a@127.0.0.1", `"a@127.0.0.1"; its name is given with --name`},
		{"serve --name f@[::1]", "--name: f@[::1]: an address in a node's name has no brackets"},
		{"ping f@[::1]", "NODE: f@[::1]: an address in a node's name has no brackets: f@::1"},
		{"ping a@127.0.0.1 --timeout 1", "for seconds say 1s"},
		{"call a@127.0.0.1 lists:seq [1,2]", "module and function are two words, lists seq"},
		{"call a@127.0.0.1 lists:seq", "module and function are two words, lists seq"},
		{"call a@127.0.0.1 lists [1,2]", "FUN is [1,2]: the function's name is missing"},
		{"call a@127.0.0.1 m f [X]", "a variable: an atom is 'X'"},
		{"help serve x", `unknown command or argument "x"`},
		{"--nope", "unknown flag: --nope"},
		{"--name x@127.0.0.1", "--name is for a command such as serve or ping"},
		{"serve x", `unknown command or argument "x"`},
		{"serve --transport udp", `--transport "udp": want tcp, tls, unix or uds`},
		{"serve --transport tls", "--transport tls needs --tls-optfile FILE"},
		{"certs", "DIR is missing"},
		{"certs /dev/null/x --host *.example.org", `--host "*.example.org": want the part of a node's name behind the "@"`},
		{"certs /dev/null/x --host böse", `--host "böse": want`},
		{"serve --tls-optfile x", "--tls-optfile is for --transport tls"},
		{"serve --transport unix --tls-optfile x", "--tls-optfile is for --transport tls"},
		{"serve --listen nowhere", "--listen nowhere: want IP or IP:PORT"},
		{"serve --listen unix:/tmp/x", "needs --transport unix"},
		{"serve --transport unix --listen 127.0.0.1:0", "wants unix:DIRECTORY or unix:SOCKET"},
		{"serve --transport unix --listen unix:", "wants unix:DIRECTORY or unix:SOCKET"},
		{"serve --epmd here", `--epmd "here": want auto, embedded or HOST:PORT`},
		{"serve --epmd :5000", "want auto, embedded or HOST:PORT"},
		{"serve --name a@b@c", `--name: invalid node name "a@b@c"`},
		{"serve --name @", "--name: invalid node name"},
		{"serve --name a.b@127.0.0.1", `--name: invalid node name "a.b@127.0.0.1": '.' before the "@"`},
		{"serve --log-level loud", `--log-level "loud": want off, error, warn, info or debug`},
		{"serve --fault gently", "--fault gently: want a number"},
		{"ping a@127.0.0.1 --fault -1", "--fault -1: want a number"},
		{"names --fault 1", "unknown flag: --fault"},
		{"serve --workers -1", "--workers -1: want 0 to 1024"},
		{"serve --dispatch least", "--dispatch is for --workers"},
		{"serve --topic news", "--topic is for --pubsub"},
		{"upgrade a@127.0.0.1 --binary=", "--binary is empty"},
		{"stay", "PROGRAM is missing"},
		{"stay --", "PROGRAM is missing"},
		{"serve --workers 2 --dispatch any", `--dispatch "any": want name or least`},
		{"serve --workers 2 --fault 1", "--trace and --fault are for one process"},
		{"serve --polling soon", "--polling soon: want a time such as 500ms, 10s or 2m"},
		{"serve --polling -1us", "--polling -1µs: want 0 to 1ms"},
		{"serve --polling 1s", "--polling 1s: want 0 to 1ms"},
		{"ping a@127.0.0.1 --polling 0", "unknown flag: --polling"},
		{"ping", "NODE is missing"},
		{"ping a b", `unknown command or argument "b"`},
		{"ping a@", "NODE: invalid node name"},
		{"ping a@127.0.0.1 --name x@y@z", "--name: invalid node name"},
		{"ping a@127.0.0.1 --epmd embedded --cookie c", "--epmd embedded is for serve"},
		{"ping a@127.0.0.1 --listen nowhere --cookie c", "--listen nowhere: want IP or IP:PORT"},
		{"ping a@127.0.0.1 --timeout soon", "--timeout soon: want a time such as"},
		{"ping a@127.0.0.1 --timeout 0s", "want a time to wait"},
		{"call a@127.0.0.1 m f --timeout -1s", "want a time to wait"},
		{"call a@127.0.0.1 m", "FUN is missing"},
		{"call a@127.0.0.1 m f atom", "ARGS: want a list"},
		{"call a@127.0.0.1 lists seq 1 5", "more than one word for ARGS: want one list"},
		{"call a@127.0.0.1 m f [1", "ARGS: want a list such as '[1, \"two\", {three}]': ei: "},
		{"names --timeout 0s", "want a time to wait"},
		{"names --epmd embedded", "--epmd embedded is for serve"},
		{"names --epmd x", "want auto, embedded or HOST:PORT"},
		{"names --epmd 127.0.0.1:bad", `port "bad" is not in 0..65535`},
		{"ping a@127.0.0.1 --epmd 127.0.0.1:70000 --cookie c", `port "70000" is not in 0..65535`},
		{"epmd --listen x", "a port mapper listens on IP:PORT"},
		{"epmd --listen unix:/tmp/x", "a port mapper listens on IP:PORT"},
		{"epmd --epmd host:x", "a port mapper listens on IP:PORT"},
		{"ping x -cookie c", "-cookie: flags have two dashes here: --cookie SECRET"},
		{"ping x -cookie=c", "-cookie: flags have two dashes here: --cookie SECRET"},
		{"certs /dev/null/x -host a", "-host: flags have two dashes here: --host HOST"}, // not -h, the help
		{"ping x -setcookie c", "-setcookie is erl's: here it is --cookie SECRET"},
		{"ping x --sname y", "--sname is erl's: here it is --name ALIVE"},
		{"ping x --nmae y", "unknown flag: --nmae; did you mean --name?"},
		{"ping x --workers 3", "unknown flag: --workers, which is for serve"},
		{"ping x --frobnicate", "unknown flag: --frobnicate\n"},
		{"ping x -q", "unknown flag: -q\n"},
		{"ping x --cookie", "--cookie: its value is missing: --cookie SECRET"},
		{"ping x --json=maybe", "--json maybe: want true or false"},
		{"serve --workers many", "--workers many: want a whole number\n"},
		{"serve --workers 99999999999999999999", "--workers 99999999999999999999: the number is too large"},
		{"help foo", `"foo"; the commands are call, certs, completion, epmd, names, ping, serve, ` +
			"stay, top, tour, upgrade\nsee: cnode-demo --help"},
		{"foo", `"foo"; the commands are call, certs,`},
		{"call a@127.0.0.1 :lists seq [1,2]", "MOD is :lists, as Elixir writes it: add --syntax elixir, or say lists"},
		{"call a@127.0.0.1 lists seq [a:,1]", "ARGS: want a list such as"}, // neither
		{"call a@127.0.0.1 lists seq [:a]", "if it is meant as Elixir, add --syntax elixir"},
		{"call a@127.0.0.1 lists seq [%{a=>1}] --syntax elixir", "ARGS: want a list such as"},
		{"call a@127.0.0.1 lists seq [{a}] --syntax elixir", "if it is meant as Erlang, leave out --syntax elixir"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := execute(t, env, words(tt.args)...)
			require.Equal(t, exitUsage, r.code, r.err)
			require.Contains(t, r.err, tt.want)
			require.Contains(t, r.err, "--help")
			require.Empty(t, r.out)
		})
	}
}

func TestHelp(t *testing.T) {
	r := execute(t, nil, "--help")
	require.Zero(t, r.code)
	require.Empty(t, r.err)
	for _, want := range []string{
		"serve", "ping", "call", "names", "epmd", "Exit codes: 0 success, 1 failure", "Examples:",
		"--name", "--cookie", "--transport", "--listen", "--epmd", "--tls-optfile", "--log-level",
	} {
		require.Contains(t, r.out, want)
	}
	for _, command := range []string{"serve", "ping", "call", "names", "top", "epmd", "stay"} {
		r := execute(t, nil, command, "--help")
		require.Zero(t, r.code)
		require.Contains(t, r.out, "Examples:\n  cnode-demo "+command, command)
	}
}

// The help of a command lists the shared flags that it uses; it accepts the others, too.
func TestHelpHasItsFlags(t *testing.T) {
	for command, want := range map[string]string{
		"certs": "help,host", "upgrade": "binary,help", "stay": "help", "names": "epmd,help,json,timeout", "completion": "help",
		"tour": "help,log-format,log-level", "help": "help",
		"epmd": "epmd,help,listen,log-format,log-level",
		"ping": "cookie,epmd,fault,help,json,listen,log-format,log-level,name,timeout,tls-optfile,trace,transport",
	} {
		r := execute(t, nil, command, "--help")
		require.Zero(t, r.code, r.err)
		_, flags, _ := strings.Cut(r.out, "\nFlags:")
		var has []string
		for _, m := range regexp.MustCompile(`(?m)^ +(?:-h, )?--([a-z-]+)`).FindAllStringSubmatch(flags, -1) {
			has = append(has, m[1])
		}
		slices.Sort(has)
		require.Equal(t, want, strings.Join(has, ","), command)
	}
	require.Contains(t, execute(t, []string{"HOME=" + t.TempDir(), "TMPDIR=" + sockdir.New(t)}, "upgrade", "x@127.0.0.1", "--cookie",
		"c").err, "no serve")
}

// The shells get their scripts, and the words of a command line.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := execute(t, nil, "completion", shell)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "cnode-demo")
	}
	require.Contains(t, execute(t, nil, "__complete", "up").out, "upgrade\t")
	r := execute(t, nil, "completion", "tcsh")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.err, "no completion for tcsh; the shells are bash, fish, powershell, zsh")
	require.Contains(t, execute(t, nil, "upgrad").err, "did you mean upgrade?")
}

func TestTopRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"top": "NODE is missing", "top x@127.0.0.1": "no terminal: want --once", "top x@127.0.0.1 --json": "--json is for --once",
		"top x@127.0.0.1 --once --sort x": "want memory, queue, reductions", "top x@127.0.0.1 --once --every 0s": "want a time to wait",
	} {
		r := execute(t, nil, strings.Fields(args)...)
		require.Equal(t, exitUsage, r.code, args)
		require.Contains(t, r.err, want)
	}
}

func TestEmptyArgument(t *testing.T) {
	for want, args := range map[string][]string{
		"NODE is empty": {"ping", ""}, "FUN is empty": {"call", "a@127.0.0.1", "m", ""}, "DIR is empty": {"certs", ""},
		"NAME is empty": {"upgrade", ""}, "PROGRAM is empty": {"stay", ""},
	} {
		r := execute(t, []string{"HOME=" + t.TempDir()}, args...)
		require.Equal(t, exitUsage, r.code)
		require.Contains(t, r.err, want)
	}
}

// What is a program of its own now says so in one line.
func TestMoved(t *testing.T) {
	for _, args := range [][]string{{"gen"}, {"gen", "--from", "x", "--struct", "A"}, {"gen", "--help"}} {
		r := execute(t, nil, args...)
		require.Equal(t, exitFailed, r.code)
		require.Equal(t, "gen: it is the command cnode-gen now, with the same flags: "+
			"go install github.com/cnode-go/cnode/cmd/cnode-gen@latest\n", r.err)
	}
	require.Contains(t, execute(t, nil, "front", "--listen", ":1").err, "/contrib/front/cmd/cnode-front@latest\n")
}

func TestVersion(t *testing.T) {
	r := execute(t, nil, "--version")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "cnode-demo version ")
	require.Contains(t, r.out, runtime.Version())
}
