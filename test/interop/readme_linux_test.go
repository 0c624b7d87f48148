package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/pty"
)

// What the README shows of shells is what they print, when its lines are typed.
func TestReadmeShells(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/first-node")
	listens := []string{"-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"}
	serve := func(t *testing.T, port int) {
		cmd := exec.Command(node)
		cmd.Env = epmdEnviron(port)
		otp.Serve(t, cmd)
	}
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		serve(t, port)
		typeReadme(t, "erlang", `\d+> `, port, exec.Command(r.Erl, append(listens, "-name", "me@127.0.0.1", "-setcookie", "secret")...))
	})
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		serve(t, port)
		iex := filepath.Join(filepath.Dir(e.Program), "iex")
		typeReadme(t, "elixir", `iex> `, port, exec.Command(iex, "--name", "me@127.0.0.1", "--cookie", "secret",
			"--erl", strings.Join(listens, " ")))
	})
}

// typeReadme types the lines of the first node's block of a language that begin with a prompt, and
// waits for what the block shows below each.
func typeReadme(t *testing.T, language, prompt string, port int, shell *exec.Cmd) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(text), "\n## A first node\n")
	require.True(t, ok)
	_, block, ok = strings.Cut(block, "\n```"+language+"\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "\n```")
	shell.Env = append(pty.Environment(t), append(epmdEnviron(port), "HOME="+t.TempDir())...)
	term := pty.Start(t, shell)
	term.Resize(t, 200, 50)
	term.Expect(t, "1> ")
	begins := regexp.MustCompile(`^` + prompt)
	lines := strings.Split(block, "\n")
	require.Greater(t, len(lines), 2)
	for i := 0; i < len(lines); {
		typed := begins.FindString(lines[i])
		require.NotEmpty(t, typed, lines[i])
		term.Type(t, strings.TrimPrefix(lines[i], typed)+"\r")
		var want []string
		for i++; i < len(lines) && !begins.MatchString(lines[i]); i++ {
			want = append(want, "\n"+lines[i])
		}
		term.Expect(t, append(want, "> ")...)
	}
}
