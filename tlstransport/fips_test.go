package tlstransport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/test/need"
	"github.com/stretchr/testify/require"
)

// If only approved cryptography is allowed, sessions stay with crypto/tls, which is logged and reported.
func TestFIPSOnly(t *testing.T) {
	const only = "GODEBUG=fips140=only"
	if "GODEBUG="+os.Getenv("GODEBUG") != only {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSOnly$", "-test.v")
		cmd.Env = append(os.Environ(), only)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "fips140: ") && !strings.Contains(string(out), "--- FAIL") {
			need.Missing(t, fmt.Sprintf("%s cannot be had on this system: %s", only, out))
		}
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestFIPSOnly")
		return
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var said bytes.Buffer
		cfg := restrict(newAuthority(t, "an authority").mutual(t), version, 0)
		o := Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}
		w := newWorkbench(t, cfg, o)
		require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), said.String())
		require.Contains(t, said.String(), "no TLS session can move")
		require.Nil(t, w.cb.Import)
		c, s := w.pair()
		exchange(t, ours{c}, ours{s}, 100_000)
		require.NoError(t, w.cb.Close(c))
		require.NoError(t, w.cb.Close(s))

		said.Reset()
		o.Plain = true
		newWorkbench(t, cfg, o)
		require.Empty(t, said.String())
	}
	path := t.TempDir() + "/ssl_dist.conf"
	require.NoError(t, os.WriteFile(path, []byte("[{client,[{key_update_at,1000}]}]."), 0o600))
	_, err := FromOptFile(path, Options{})
	require.ErrorContains(t, err, "key_update_at")
}
