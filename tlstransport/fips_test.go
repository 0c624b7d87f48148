package tlstransport

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fips"
	"github.com/stretchr/testify/require"
)

// If only approved cryptography is allowed, sessions stay with crypto/tls, which is logged and
// reported. Nothing that a stranger sends ends the process then, and no file does. FuzzOpen and
// FuzzImport are about sessions that do not stay with crypto/tls.
func TestFIPSOnly(t *testing.T) {
	t.Parallel() // it waits
	if !fips140.Enforced() {
		fips.Only(t, "^(TestFIPSOnly|FuzzSession|FuzzHandshake|FuzzOptFile)$")
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

		said.Reset()
		o.Plain = true
		newWorkbench(t, cfg, o)
		require.Empty(t, said.String())
	}
	path := t.TempDir() + "/ssl_dist.conf"
	require.NoError(t, os.WriteFile(path, []byte("[{client,[{key_update_at,1000}]}]."), 0o600))
	require.ErrorContains(t, expect.Err(FromOptFile(path, nil)), "key_update_at")

	a, dir := newAuthority(t, "an authority"), t.TempDir()
	_, cert, key := a.files(t, dir, a.sign(t, want{}))
	der, err := os.ReadFile(key)
	require.NoError(t, err)
	var old *pem.Block
	fips140.WithoutEnforcement(func() {
		plain, _ := pem.Decode(der)
		//lint:ignore SA1019 OpenSSL's old format, which operators have keys in
		old, err = x509.EncryptPEMBlock(rand.Reader, plain.Type, plain.Bytes, []byte("secret"),
			x509.PEMCipherAES128)
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(old), 0o600))
	_, _, option, err := readPair(certFiles{cert, key, "secret"})
	require.ErrorContains(t, err, "fips140=only")
	require.Equal(t, "keyfile", option)
}
