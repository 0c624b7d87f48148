package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
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

// A service lives on, and ends in order, when nobody reads what it says any more.
func TestExamplesOutliveTheirLogs(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	r := otp.Releases(t)[0]
	port := r.Epmd(t)
	for _, name := range []string{"board", "service"} {
		read, write, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, read.Close())
		cmd := exec.Command(program(t, "examples/"+name))
		home := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("secret"), 0o400))
		cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port), "HOME="+home)
		cmd.Stdout, cmd.Stderr = write, write
		require.NoError(t, cmd.Start())
		require.NoError(t, write.Close())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		there := func() bool { return erl.Eval(t, `net_adm:ping('`+name+`@127.0.0.1')`) == "pong" }
		require.Eventually(t, there, 30*time.Second, 10*time.Millisecond, name)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, <-ended, name)
	}
}
