package supervise

import (
	"errors"
	"os"
	"strings"
	"testing"

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
		said := strings.Split(strings.TrimSpace(e.Prints(t, port, "ex@127.0.0.1", text)), "\n")
		require.Equal(t, "all of it", said[len(said)-1])
	})
}
