package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// The README's first node takes Elixir's structs and gives one back, with each Elixir that there
// is.
func TestFirstNodeWithElixir(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/first-node")
	script, err := filepath.Abs("testdata/pricing.exs")
	require.NoError(t, err)
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		environ := append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1")
		serve := exec.Command(node)
		serve.Env = environ
		otp.Serve(t, serve)
		// the file is not in the root file system that Elixir may be in
		cmd := exec.CommandContext(t.Context(), e.Program, "--name", "ex@127.0.0.1", "--cookie", "secret", "-e", string(text))
		var complaints strings.Builder
		cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = t.TempDir(), environ, &complaints, 10*time.Second
		out, err := cmd.Output()
		require.NoError(t, err, "%s%s", out, &complaints)
		require.Equal(t, "all of it\n", string(out))
	})
}
