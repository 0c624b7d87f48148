package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// What programs in Elixir do with processes they do with those of a Go node.
func TestElixirIdioms(t *testing.T) {
	script, err := os.ReadFile("testdata/idioms.exs")
	require.NoError(t, err)
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n, _ := start(t, port, func(n *nodes.Node) error {
			if _, err := supervisor.Start(t.Context(), n, "shop", &supervisor.Options{}, supervisor.Server("stock", newPricing, nil)); err != nil {
				return err
			}
			return errors.Join(exposeSeveral(n), supervisor.ExposeStart(n, "pricing", newPricing, nil))
		})
		text := block(t, "```elixir\ndefmodule GoChild") + "\n" + strings.ReplaceAll(string(script), "NODE", n.Name())
		// the file is not in the root file system that Elixir may be in
		cmd := exec.CommandContext(t.Context(), e.Program, "--name", "ex@127.0.0.1", "--cookie", otp.DefaultCookie, "-e", text)
		var complaints strings.Builder
		cmd.Dir, cmd.Stderr, cmd.WaitDelay = t.TempDir(), &complaints, 10*time.Second
		cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port), "ERL_EPMD_ADDRESS=127.0.0.1")
		out, err := cmd.Output()
		require.NoError(t, err, "%s%s", out, &complaints)
		require.Equal(t, "all of it", strings.TrimSpace(string(out[strings.LastIndex(strings.TrimSpace(string(out)), "\n")+1:])))
	})
}
