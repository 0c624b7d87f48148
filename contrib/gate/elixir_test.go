package gate_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// An Elixir node asks, by what rules allow.
func TestElixir(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		r := otp.Releases(t)[0]
		w := newWorld(t, r, r)
		w.cfg.Outside.Names = []string{"mix@127.0.0.1"}
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		home := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("outer"), 0o400))
		cmd := exec.CommandContext(t.Context(), e.Program, "--name", "mix@127.0.0.1", "--cookie", "outer", "-e", fmt.Sprintf(`
			shop = :"%s"
			true = Node.connect(shop)
			{:price, 7} = :erpc.call(shop, :shop, :quote, [7])
			{:rang, "beer"} = GenServer.call({:till, shop}, "beer")
			refused = try do :erpc.call(shop, :shop, :refund, [7]) rescue e -> e end
			IO.puts("refused: #{inspect(refused)}")
			{:noproc, _} = catch_exit = try do GenServer.call({:echo, shop}, 1) catch :exit, why -> why end
			IO.puts("done #{inspect(catch_exit)}")`, w.inner.Name()))
		cmd.Env = append(os.Environ(), "HOME="+home, "ERL_EPMD_PORT="+strconv.Itoa(w.outer.EpmdPort()))
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, string(said))
		require.Contains(t, string(said), "done")
		require.Equal(t, "[]", w.inner.Do(t, "hits ! {ask, self()}, receive {hits, L} -> L end"))
	})
}
