package tlstransport

import (
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A root need not say that it is an authority, as long as it does not say that it is none. Other
// certificates may sign only if they say that they are authorities.
func TestRootsThatSayNothing(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		says, authority, root bool
		trusted               bool
	}{
		"a root that says nothing":               {root: true, trusted: true},
		"a root that says so":                    {root: true, says: true, authority: true, trusted: true},
		"a root that says that it is none":       {root: true, says: true},
		"an intermediate one that says nothing":  {},
		"an intermediate one that says that too": {says: true, authority: true, trusted: true},
	} {
		a, root := newAuthority(t, "an authority"), newAuthority(t, "a root")
		template, by, key := *a.cert, root.cert, root.key
		if tt.root {
			by, key = &template, a.key
		}
		template.BasicConstraintsValid, template.IsCA = tt.says, tt.authority
		der := expect.NoError(x509.CreateCertificate(rand.Reader, &template, by, a.key.Public(), key)).In(t)
		a.cert = expect.NoError(x509.ParseCertificate(der)).In(t)
		require.Equal(t, 3, a.cert.Version)
		trust, _, err := readAuthorities(bundle(t, dir, a.cert.Raw, root.cert.Raw))
		require.NoError(t, err)
		peer := expect.NoError(x509.ParseCertificate(a.sign(t, want{}).Certificate[0])).In(t)
		_, err = trust.chains([]*x509.Certificate{peer}, x509.ExtKeyUsageClientAuth)
		require.Equal(t, tt.trusted, err == nil, "%s: %v", name, err)
	}
}

// A chain must end at a self-signed certificate of the cacertfile, not at another one of that file.
// All peers here send their own certificate and that of the authority between it and the root.
func TestTrustAnchors(t *testing.T) {
	t.Parallel() // it waits
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
		check          Failure // empty: it is accepted
	}{
		{"the root", rootOnly, "", ""},
		{"root and intermediate", both, "", ""},
		{"root and intermediate, depth 1", both, ",{depth,1}", ""},
		{"root and intermediate, depth 0", both, ",{depth,0}", FailureCertificate},
		{"the intermediate alone", betweenOnly, "", FailureUnknownAuthority},
		{"the intermediate is revoked", both, crl + "true}", FailureRevoked},
		{"the intermediate is revoked, best effort", both, crl + "best_effort}", FailureRevoked},
		{"the intermediate is revoked, only the peer matters", both, crl + "peer}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, who := range []role{client, server} { // the side that verifies
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
					require.Equal(t, tt.check, e.Failure, "%s: %v", who, e)
					require.False(t, e.ByPeer)
				}
			}
		})
	}
}

// If a certfile holds only the node's certificate, the certificates between it and the root come
// from cacertfile, whether peers are verified or not.
func TestChainIsCompleted(t *testing.T) {
	root := newAuthority(t, "a root")
	one := root.below(t, "an authority between")
	two := one.below(t, "another one between")
	dir := t.TempDir()
	c := two.sign(t, want{})
	_, cert, key := root.files(t, dir, c)
	all := bundle(t, dir, one.cert.Raw, root.cert.Raw, two.cert.Raw)
	peer := (&authority{two.cert, two.key, root.pool}).mutual(t) // the peer knows only the root
	peer.Certificates[0].Certificate = append(peer.Certificates[0].Certificate, two.cert.Raw, one.cert.Raw)
	for _, tt := range []struct {
		verify, certfile string
		chain            [][]byte
	}{
		{"verify_peer", cert, [][]byte{c.Certificate[0], two.cert.Raw, one.cert.Raw}},
		{"verify_none", cert, [][]byte{c.Certificate[0], two.cert.Raw, one.cert.Raw}},
		{"verify_none", bundle(t, dir, c.Certificate[0], two.cert.Raw), [][]byte{c.Certificate[0], two.cert.Raw, one.cert.Raw}},
		{"verify_none", bundle(t, dir, c.Certificate[0], two.cert.Raw, one.cert.Raw, root.cert.Raw),
			[][]byte{c.Certificate[0], two.cert.Raw, one.cert.Raw, root.cert.Raw}},
	} {
		o := `{verify,` + tt.verify + `},{cacertfile,"` + all + `"},{certfile,"` + tt.certfile + `"},{keyfile,"` + key + `"}`
		w := optBench(t, optFile(t, dir, o, o), Options{})
		for _, r := range []role{client, server} {
			s, theirs := w.against(r, peer)
			exchange(t, ours{s}, theirs, 10)
			var got [][]byte
			for _, c := range theirs.ConnectionState().PeerCertificates {
				got = append(got, c.Raw)
			}
			require.Equal(t, tt.chain, got)
		}
	}
}

// Two authorities that have signed each other do not make an endless chain.
func TestCompleteOfLoopEnds(t *testing.T) {
	a, b := newAuthority(t, "an authority"), newAuthority(t, "another authority")
	cross := func(from, to *authority) []byte {
		der, err := x509.CreateCertificate(rand.Reader, to.cert, from.cert, to.key.Public(), from.key)
		require.NoError(t, err)
		return der
	}
	dir := t.TempDir()
	trust, _, err := readAuthorities(bundle(t, dir, cross(a, b), cross(b, a)))
	require.NoError(t, err)
	leaf := a.sign(t, want{}).Certificate[0]
	require.Equal(t, [][]byte{leaf, trust.all[1].Raw, trust.all[0].Raw}, trust.complete([][]byte{leaf}))
}

// Which certificates are self-signed: one need not say that it is an authority, and one whose
// subject has the name of its issuer need not be self-signed.
func TestSelfSigned(t *testing.T) {
	a, namesake := newAuthority(t, "an authority"), newAuthority(t, "an authority")
	leaf := func(from *authority, name string) *x509.Certificate {
		return expect.NoError(x509.ParseCertificate(from.sign(t, want{name: name, key: from.key}).Certificate[0])).In(t)
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

// A client accepts a server only if the certificate names its very host; names with a * match no
// host, as in OTP, unless customize_hostname_check says so.
func TestCertificateIsForHost(t *testing.T) {
	t.Parallel() // it waits
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	for _, tt := range []struct {
		hosts   []string
		name    string // the common name
		host    string
		options string
		good    bool
	}{
		{[]string{"a.example.org"}, "x", "a.example.org", "", true},
		{[]string{"a.example.org"}, "b.example.org", "b.example.org", "", false},
		{[]string{"*.example.org"}, "a.example.org", "a.example.org", "", false},
		{[]string{"*.example.org", "a.example.org"}, "x", "a.example.org", "", true},
		{[]string{"*.example.org", "192.0.2.1"}, "x", "192.0.2.1", "", true},
		{[]string{}, "a.example.org", "a.example.org", "", true},
		{[]string{"*.example.org"}, "x", "a.example.org", ",{customize_hostname_check,[]}", false},
		{[]string{"*.example.org"}, "x", "a.example.org", ",{customize_hostname_check,[{match_fun," + httpsMatchCall + "}]}", true},
	} {
		o := certOptions(a.files(t, dir, a.sign(t, want{name: tt.name, hosts: tt.hosts})))
		w := optBench(t, optFile(t, dir, o, o+`,{server_name_indication,"`+tt.host+`"}`+tt.options), Options{})
		c, s := w.pair()
		<-c.over
		if tt.good {
			exchange(t, ours{c}, ours{s}, 10)
		} else {
			var e *PeerError
			require.ErrorAs(t, c.failure, &e, tt.hosts)
			require.Equal(t, FailureHost, e.Failure)
			require.True(t, e.Client)
			require.False(t, e.ByPeer)
			require.Equal(t, tt.hosts[0][0] == '*', strings.Contains(e.Error(),
				"names with a * count only with"), e)
		}
	}
}

// With {server_name_indication,disable} a client names no host and accepts a certificate for any,
// but only of its authorities.
func TestCertificateIsForAnyHost(t *testing.T) {
	a, other, dir := newAuthority(t, "an authority"), newAuthority(t, "another authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{hosts: []string{"elsewhere"}})))
	w := optBench(t, optFile(t, dir, o, o+`,{server_name_indication,disable}`), Options{})
	c, _ := w.talking()
	cfg := expect.NoError(c.p.source.config(client, "a.example.org")).In(t)
	require.Empty(t, cfg.ServerName)

	strange := newWorkbench(t, other.mutual(t), Options{})
	c = w.connect(strange.at)
	strange.accept()
	<-c.over
	e := expect.As[*PeerError](t, c.failure)
	require.Equal(t, FailureUnknownAuthority, e.Failure)
}
