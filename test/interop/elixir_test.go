package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// The README's first node takes Elixir's structs and gives one back, with each Elixir that there
// is.
func TestFirstNodeWithElixir(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/first-node")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		serve := exec.Command(node)
		serve.Env = elixirEnviron(port)
		otp.Serve(t, serve)
		runElixir(t, e, "testdata/pricing.exs", "secret", serve.Env)
	})
}

// What Elixir prints of an exception says why, and nothing is nil for it.
func TestElixirPrintsWhy(t *testing.T) {
	needsTCP(t, "Elixir is started without another carrier")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n := startNode(t, config(port))
		shopFuncs(t, n)
		runElixir(t, e, "testdata/why.exs", otp.DefaultCookie, append(elixirEnviron(port), "GO_NODE="+n.Name()))
	})
}

func elixirEnviron(port int) []string {
	return append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8")
}

// runElixir runs a script on a node.
func runElixir(t *testing.T, e otp.Elixir, script, cookie string, environ []string) {
	t.Helper()
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	// the file is not in the root file system that Elixir may be in
	cmd := exec.CommandContext(t.Context(), e.Program, "--name", "ex@127.0.0.1", "--cookie", cookie, "-e", string(text))
	var complaints strings.Builder
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = t.TempDir(), environ, &complaints, 10*time.Second
	out, err := cmd.Output()
	require.NoError(t, err, "%s%s", out, &complaints)
	require.Equal(t, "all of it\n", string(out))
}
