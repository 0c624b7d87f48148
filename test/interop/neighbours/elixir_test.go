package neighbours

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Elixir node calls, messages and monitors what Go has, in Elixir's own words.
func TestElixir(t *testing.T) {
	w := newPlace(t)
	script, err := filepath.Abs("testdata/neighbour.exs")
	require.NoError(t, err)
	cmd := w.command(w.soon(), `exec elixir --name ex@127.0.0.1 --cookie "$COOKIE" -e "$(cat)"`)
	cmd.Stdin = open(t, script)
	var complaints strings.Builder // on a busy machine the runtime may have some
	cmd.Stderr, cmd.WaitDelay = &complaints, 10*time.Second
	out, err := cmd.Output()
	require.NoError(t, err, "%s%s", out, &complaints)
	require.Equal(t, "all of it\n", string(out))
}
