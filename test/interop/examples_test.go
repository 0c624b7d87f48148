package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// The programs that the README shows do what it says, with real nodes.
func TestExamples(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node, plugin, overTLS := program(t, "examples/first-node"), program(t, "examples/first-plugin"), program(t, "examples/tls-node")
	dir := t.TempDir()
	text, err := exec.Command(program(t, "cmd/cnode-demo"), "certs", filepath.Join(dir, "tls")).CombinedOutput()
	require.NoError(t, err, "%s", text)
	conf := filepath.Join(dir, "tls", "ssl_dist.conf")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		run := func(path string, args ...string) {
			cmd := exec.Command(path, args...)
			cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port))
			otp.Serve(t, cmd)
		}
		run(node)
		require.Equal(t, `pong`, erl.Eval(t, `net_adm:ping('go@127.0.0.1')`))
		require.Equal(t, `<<"ABC">>`, erl.Eval(t, `rpc:call('go@127.0.0.1', go, upper, [<<"abc">>])`))
		require.Equal(t, `{<<"A1">>,4.5}`, erl.Eval(t, `#{sku := SKU, total := Total} = gen_server:call({pricing, 'go@127.0.0.1'},
			{quote, #{sku => <<"A1">>, qty => 3, tags => [], price => 1.5}}), {SKU, Total}`))

		run(plugin)
		require.Equal(t, `pong`, erl.Eval(t, `net_adm:ping('plugin@127.0.0.1')`))
		require.Equal(t, `[{a,<<"b">>}]`, erl.Eval(t, `erpc:call('plugin@127.0.0.1', go, echo, [{a, <<"b">>}])`))

		run(overTLS, conf)
		safe := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret", TLSOptFile: conf})
		require.Equal(t, `pong`, safe.Eval(t, `net_adm:ping('safe@127.0.0.1')`))
		require.Equal(t, `pang`, erl.Eval(t, `net_adm:ping('safe@127.0.0.1')`)) // without TLS
	})
}
