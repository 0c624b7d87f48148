package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Options that let anyone in are reported at the start, whatever the log level, and once, however
// many transports and processes there are.
func TestOpenDoorsAreSaid(t *testing.T) {
	w := newHome(t, 0)
	dir := filepath.Join(w.home, "tls")
	w.succeed("certs", dir)
	said := func(errOut string) {
		t.Helper()
		require.Equal(t, 2, strings.Count(errOut, "TLS certificates of peers are not verified: set {verify,verify_peer}"), errOut)
		require.Regexp(t, "role[ =]server", errOut)
		require.Regexp(t, "role[ =]client", errOut)
	}
	conf := filepath.Join(dir, "open.conf")
	text := fmt.Sprintf("[{server,[{certfile,%q},{keyfile,%q}]},{client,[]}].", filepath.Join(dir, "node.pem"), filepath.Join(dir, "node.key"))
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	tls := []string{"--tls-optfile", conf, "--transport", "tls"}
	ways := [][]string{nil, {"--log-level", "error"}, {"--log-level", "warn"}, {"--also", "tls:127.0.0.1:0"}}
	if runtime.GOOS == "linux" {
		ways = append(ways, []string{"--workers", "2"}, []string{"--workers", "2", "--log-level", "off"})
	}
	for _, way := range ways {
		s := w.serve("serve", append(append([]string{"--name", "open@127.0.0.1"}, tls...), way...)...)
		said(s.terminate(syscall.SIGTERM))
	}
	s := w.serve("serve", append([]string{"--name", "open@127.0.0.1"}, tls...)...)
	said(w.run(append([]string{"ping", "open@127.0.0.1"}, tls...)...).err)
	said(s.terminate(syscall.SIGTERM))
}
