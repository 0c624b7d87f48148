package neighbours

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An Elixir node calls, messages and monitors what Go has, in Elixir's own words.
func TestElixir(t *testing.T) {
	w := newWorld(t)
	script, err := filepath.Abs("testdata/neighbour.exs")
	require.NoError(t, err)
	cmd := w.command(`exec elixir --name ex@127.0.0.1 --cookie "$COOKIE" -e "$(cat)"`)
	cmd.Stdin = open(t, script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "all of it\n", string(out))
}
