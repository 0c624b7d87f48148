package tlstransport

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A chain ends at a certificate of the cacertfile that has signed itself, not at another one in it. All peers here show their certificate
// and that of the authority between it and the root.
func TestTrustAnchors(t *testing.T) {
	root := newAuthority(t, "a root")
	between := root.below(t, "an authority between")
	dir, lists := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(lists, "0a1b2c3d.r0"), between.revokes(t, time.Now().Add(time.Hour), nil), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(lists, "0a1b2c3e.r0"),
		root.revokes(t, time.Now().Add(time.Hour), nil, between.cert.SerialNumber), 0o600))
	c := between.sign(t, want{})
	_, _, key := root.files(t, dir, c)
	chain := bundle(t, dir, c.Certificate[0], between.cert.Raw)
	rootOnly, betweenOnly := bundle(t, dir, root.cert.Raw), bundle(t, dir, between.cert.Raw)
	both := bundle(t, dir, between.cert.Raw, root.cert.Raw)
	crl := `,{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,"` + lists + `"}]}}},{crl_check,`
	for _, tt := range []struct {
		name, ca, more string
		check          Check // empty: it is accepted
	}{
		{"the root", rootOnly, "", ""},
		{"root and intermediate", both, "", ""},
		{"root and intermediate, depth 1", both, ",{depth,1}", ""},
		{"root and intermediate, depth 0", both, ",{depth,0}", CheckCertificate},
		{"the intermediate alone", betweenOnly, "", CheckUnknownAuthority},
		{"the intermediate is revoked", both, crl + "true}", CheckRevoked},
		{"the intermediate is revoked, best effort", both, crl + "best_effort}", CheckRevoked},
		{"the intermediate is revoked, only the peer matters", both, crl + "peer}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, who := range []role{client, server} { // who looks
				sopts, copts := certOptions(rootOnly, chain, key), certOptions(rootOnly, chain, key)
				if who == server {
					sopts = certOptions(tt.ca, chain, key) + tt.more
				} else {
					copts = certOptions(tt.ca, chain, key) + tt.more
				}
				w := optBench(t, optFile(t, dir, sopts+",{fail_if_no_peer_cert,true}", copts), Options{})
				sc, ss := w.pair()
				looks := map[role]*Socket{client: sc, server: ss}[who]
				<-looks.over
				if tt.check == "" {
					exchange(t, ours{sc}, ours{ss}, 10)
				} else {
					var e *PeerError
					require.ErrorAs(t, looks.failure, &e, who)
					require.Equal(t, tt.check, e.Check, "%s: %v", who, e)
					require.False(t, e.ByPeer)
				}
				require.NoError(t, w.cb.Close(sc))
				require.NoError(t, w.cb.Close(ss))
			}
		})
	}
}

// Which certificates have signed themselves. One that says nothing of being an authority may have, and one with a name like its issuer's
// may not.
func TestSelfSigned(t *testing.T) {
	a, namesake := newAuthority(t, "an authority"), newAuthority(t, "an authority")
	leaf := func(from *authority, name string) *x509.Certificate {
		c, err := x509.ParseCertificate(from.sign(t, want{name: name, key: from.key}).Certificate[0])
		require.NoError(t, err)
		return c
	}
	require.True(t, isSignedBy(a.cert, a.cert))
	require.True(t, isSignedBy(leaf(a, "an authority"), leaf(a, "an authority")))
	other, err := x509.ParseCertificate(namesake.sign(t, want{name: "an authority", key: a.key}).Certificate[0])
	require.NoError(t, err)
	require.False(t, isSignedBy(other, other))
	old := *other
	old.SignatureAlgorithm = x509.MD5WithRSA
	require.True(t, isSignedBy(&old, &old))
}
