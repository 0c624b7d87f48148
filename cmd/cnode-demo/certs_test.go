package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCerts(t *testing.T) {
	w := newHome(t, 0)
	dir := filepath.Join(w.home, `t"ls`)
	conf := filepath.Join(dir, "ssl_dist.conf")
	require.Equal(t, "made "+conf+"\nuse  --transport tls --tls-optfile "+conf+"\nor   erl -proto_dist inet_tls -ssl_dist_optfile "+conf+"\n",
		w.succeed("certs", dir, "--host", "elsewhere.example.org"))
	for _, name := range []string{"ca.pem", "node.pem", "node.key", "ssl_dist.conf"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		if os.PathSeparator == '/' {
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	_, errOut := w.fail("certs", dir)
	require.Contains(t, errOut, "ca.pem: file already exists")

	tls := []string{"--transport", "tls", "--tls-optfile", conf}
	s := w.serve("serve", append([]string{"--name", "t@127.0.0.1"}, tls...)...)
	require.Equal(t, "pong\n", w.succeed(append([]string{"ping", "t@127.0.0.1"}, tls...)...))
	require.Equal(t, "[1]\n", w.succeed(append([]string{"call", "t@127.0.0.1", "cnode", "echo", "[[1]]"}, tls...)...))
	out, errOut := w.fail("ping", "t@127.0.0.1")
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "want TLS")

	// Other certificates: refused, and both sides can tell why.
	other := filepath.Join(w.home, "other")
	w.succeed("certs", other)
	out, errOut = w.fail("ping", "t@127.0.0.1", "--transport", "tls", "--tls-optfile", filepath.Join(other, "ssl_dist.conf"))
	require.Equal(t, "pang\n", out)
	require.Contains(t, errOut, "unknown authority")
	require.Contains(t, errOut, "cacertfile")
	logged := strings.Count(s.terminate(syscall.SIGTERM), "level=")
	require.Equal(t, 2, logged, "the two that were refused")
}
