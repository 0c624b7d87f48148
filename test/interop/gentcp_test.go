package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// A BEAM whose carrier is OTP's example gen_tcp_dist, where Erlang processes read and write the
// connection, and a Go node talk in both directions. CNODE_TEST_GEN_TCP_DIST is the path of
// gen_tcp_dist.erl, in OTP's sources lib/kernel/examples/gen_tcp_dist/src; without it the test is
// skipped, unless nothing may be missing.
func TestGenTCPDist(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	source := os.Getenv("CNODE_TEST_GEN_TCP_DIST")
	if source == "" {
		need.Missing(t, "no gen_tcp_dist.erl: CNODE_TEST_GEN_TCP_DIST is not set (test/run.sh brings it)")
	}
	otp.Each(t, func(t *testing.T, r otp.Release) {
		code := compiled(t, r, source)
		ctx := background(t)
		port := r.Epmd(t)
		name := uniqueName()
		options := otp.Options{Name: name, EpmdPort: port, ExtraArgs: []string{"-pa", code, "-proto_dist", "gen_tcp"}}
		erl := start(t, r, options)
		n := startNode(t, config(port))
		n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper))
		require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		require.Equal(t, `<<"ABC">>`, erl.Eval(t, "erpc:call('"+n.Name()+`', go, upper, [<<"abc">>])`))
		large := ei.Binary(make([]byte, 5_000_000))
		same, err := n.ERPC(ctx, erl.Name(), "erlang", "binary_part", large, 0, len(large))
		require.NoError(t, err)
		require.True(t, ei.Identical(same, large))
		b, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, b.MonitorNode(ctx, erl.Name()))
		erl.Kill()
		require.Equal(t, "{nodedown,'"+erl.Name()+"'}", receive(t, b))
		erl = start(t, r, options)
		for range 20 {
			c, err := n.Connect(ctx, erl.Name())
			require.NoError(t, err)
			_, err = n.ERPC(ctx, erl.Name(), "erlang", "node")
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
	})
}

// compiled is a folder with the code of a module, of which a release may see no more than what is
// below the folder for temporary files.
func compiled(t *testing.T, r otp.Release, source string) (code string) {
	t.Helper()
	text, err := os.ReadFile(source)
	require.NoError(t, err)
	code = t.TempDir()
	copied := filepath.Join(code, filepath.Base(source))
	require.NoError(t, os.WriteFile(copied, text, 0o600))
	out, err := exec.Command(r.Command("erlc"), "-o", code, copied).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return code
}
