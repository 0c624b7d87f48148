//go:build unix

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// A BEAM with OTP's example erl_uds_dist and a Go node find each other in a directory of UNIX
// sockets, without a port mapper or a port. CNODE_TEST_UDS_DIST is the path of erl_uds_dist.erl, in
// OTP's sources lib/kernel/examples/erl_uds_dist/src; without it the test is skipped.
func TestUDSDist(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	source := os.Getenv("CNODE_TEST_UDS_DIST")
	if source == "" {
		need.Missing(t, "no erl_uds_dist.erl: CNODE_TEST_UDS_DIST is not set (test/run.sh brings it)")
	}
	demoPath := program(t, "cmd/cnode-demo") // before the time runs
	otp.Each(t, func(t *testing.T, r otp.Release) {
		dir, code := sockdir.New(t), compiled(t, r, source)
		ctx := background(t)
		n := startNode(t, nodes.Config{Name: uniqueName(), Cookie: otp.DefaultCookie, Resolver: nodes.AliveDir(dir)})
		n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper))
		alive, _, _ := strings.Cut(n.Name(), "@")
		require.FileExists(t, filepath.Join(dir, alive))
		launch := func(name, eval string) *otp.Program {
			// its socket is in its working directory, which a script in place of erl may change
			eval = fmt.Sprintf(`ok = file:set_cwd(%q), {ok, _} = net_kernel:start(['%s', longnames]), %s, io:format("ready ~s 0~n", [node()]).`,
				dir, name, eval)
			cmd := exec.Command(r.Command("erl"), "-noinput", "-pa", code, "-proto_dist", "erl_uds", "-no_epmd", "-setcookie", otp.DefaultCookie,
				"-eval", eval)
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			return otp.Serve(t, cmd)
		}
		// the BEAM connects
		name := uniqueName()
		beam := launch(name, fmt.Sprintf("pong = net_adm:ping('%s')", n.Name()))
		release, err := nodes.ERPCAs[string](ctx, n, name, "erlang", "system_info", ei.Atom("otp_release"))
		require.NoError(t, err)
		require.Contains(t, r.String(), release)
		upper, err := n.ERPC(ctx, name, "erpc", "call", ei.Atom(n.Name()), ei.Atom("go"), ei.Atom("upper"), ei.List{ei.Binary("abc")})
		require.NoError(t, err)
		require.Equal(t, ei.Binary("ABC"), upper)
		large := ei.Binary(make([]byte, 5_000_000))
		same, err := n.ERPC(ctx, name, "erlang", "binary_part", large, 0, len(large))
		require.NoError(t, err)
		require.True(t, ei.Identical(same, large))
		cmd := exec.Command(demoPath, "serve", "--name", uniqueName(), "--cookie", otp.DefaultCookie, "--transport", "uds",
			"--listen", "unix:"+dir+"/")
		cmd.Env = gonode.Environment(t, 1)
		demo := otp.Serve(t, cmd)
		pong, err := n.ERPC(ctx, name, "net_adm", "ping", ei.Atom(demo.Name))
		require.NoError(t, err)
		require.Equal(t, ei.Atom("pong"), pong)
		// it dies, and is started again: the Go node connects
		b, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, b.MonitorNode(ctx, name))
		beam.Kill()
		require.Equal(t, "{nodedown,'"+name+"'}", receive(t, b))
		_, err = n.Connect(ctx, name) // its socket is still there
		require.Error(t, err)
		launch(name, "ok")
		for range 20 {
			c, err := n.Connect(ctx, name)
			require.NoError(t, err)
			require.Equal(t, "unix", c.Stream().RemoteAddr().Network())
			_, err = n.ERPC(ctx, name, "erlang", "node")
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
	})
}
