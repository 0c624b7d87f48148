package tlstransport

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// revokes signs a list of revoked certificates, which is valid until then.
func (a *authority) revokes(t testing.TB, until time.Time, more []pkix.Extension, serials ...*big.Int) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: until, ExtraExtensions: more}
	for _, s := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now()})
	}
	return expect.NoError(x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)).In(t)
}

// Each value of crl_check, with different lists, which are read at each handshake.
func TestRevokedCertificatesAreRefused(t *testing.T) {
	t.Parallel() // it waits
	a, stranger := newAuthority(t, "an authority"), newAuthority(t, "an authority")
	dir := t.TempDir()
	c := a.sign(t, want{})
	leaf := expect.NoError(x509.ParseCertificate(c.Certificate[0])).In(t)
	o := certOptions(a.files(t, dir, c))
	soon := time.Now().Add(time.Hour)
	partial := func(value ...byte) []pkix.Extension { // issuingDistributionPoint
		return []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: value}}
	}
	type verdict string
	const good, unknown, revoked verdict = "good", "not known", "revoked"
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  verdict
	}{
		{"no list", nil, unknown},
		{"none revoked", map[string][]byte{"0a1b2c3d.r0": a.revokes(t, soon, nil)}, good},
		{"another one revoked", map[string][]byte{"0a1b2c3d.r0": a.revokes(t, soon, nil, big.NewInt(99))}, good},
		{"revoked", map[string][]byte{"0a1b2c3d.r0": a.revokes(t, soon, nil, big.NewInt(99), leaf.SerialNumber)}, revoked},
		{"revoked by the second list, PEM", map[string][]byte{
			"0a1b2c3d.r0": a.revokes(t, soon, nil),
			"0a1b2c3d.r1": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: a.revokes(t, soon, nil, leaf.SerialNumber)}),
		}, revoked},
		{"beside a broken file", map[string][]byte{"0a1b2c3d.r0": []byte("broken"),
			"0a1b2c3d.r1": a.revokes(t, soon, nil, leaf.SerialNumber)}, revoked},
		{"broken files", map[string][]byte{"0a1b2c3d.r0": []byte("broken"), "0a1b2c3d.r1": []byte("broken")}, unknown},
		{"out of date", map[string][]byte{"0a1b2c3d.r0": a.revokes(t, time.Now().Add(-time.Minute), nil, leaf.SerialNumber)}, unknown},
		{"signed by a stranger of the same name", map[string][]byte{"0a1b2c3d.r0": stranger.revokes(t, soon, nil, leaf.SerialNumber)}, unknown},
		{"for some certificates only", map[string][]byte{"0a1b2c3d.r0": a.revokes(t, soon, partial(0x30, 0))}, unknown},
		{"revoked by a list for some only", map[string][]byte{
			// onlyContainsUserCerts
			"0a1b2c3d.r0": a.revokes(t, soon, partial(0x30, 3, 0x81, 1, 0xff), leaf.SerialNumber),
		}, revoked},
		{"for all, then for some", map[string][]byte{
			"0a1b2c3d.r0": a.revokes(t, soon, nil), "0a1b2c3d.r1": a.revokes(t, soon, partial(0x30, 0)),
		}, good},
		{"under another name", map[string][]byte{
			"list.pem": a.revokes(t, soon, nil), "list.r0": a.revokes(t, soon, nil), "0a1b2c3d.r0.bak": a.revokes(t, soon, nil),
		}, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, lists := t.TempDir(), t.TempDir()
			for name, b := range tt.files {
				require.NoError(t, os.WriteFile(filepath.Join(lists, name), b, 0o600))
			}
			for _, mode := range []string{"true", "peer", "best_effort", "false"} {
				crl := o + ",{crl_check," + mode + "},{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,\"" + lists + "\"}]}}}"
				for _, who := range []role{client, server} { // the side that verifies
					path := optFile(t, dir, o+",{fail_if_no_peer_cert,true}", crl)
					if who == server {
						path = optFile(t, dir, crl+",{fail_if_no_peer_cert,true}", o)
					}
					var said bytes.Buffer
					w := optBench(t, path, Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
					sc, ss := w.pair()
					looks := map[role]*Socket{client: sc, server: ss}[who]
					<-looks.over
					warns := mode == "best_effort" && string(tt.files["0a1b2c3d.r0"]) == "broken"
					require.Equal(t, warns, strings.Contains(said.String(), "cannot be read"), said.String())
					switch {
					case tt.want == good || mode == "false" || tt.want == unknown && mode == "best_effort":
						exchange(t, ours{sc}, ours{ss}, 10)
					default:
						var e *PeerError
						require.ErrorAs(t, looks.failure, &e, "%s %s", mode, who)
						require.False(t, e.ByPeer)
						require.NotContains(t, e.Error(), "\n")
						if tt.want == revoked {
							require.Equal(t, FailureRevoked, e.Failure)
						} else {
							require.Equal(t, FailureCertificate, e.Failure)
							require.ErrorContains(t, e, lists)
							for name, b := range tt.files {
								require.Equal(t, string(b) == "broken", strings.Contains(e.Error(), name), e)
							}
						}
					}
				}
			}
		})
	}
}

// Partial lists, by their extensions: whether they revoke a certificate that they name.
func TestPartialLists(t *testing.T) {
	a, soon := newAuthority(t, "an authority"), time.Now().Add(time.Hour)
	leaf := expect.NoError(x509.ParseCertificate(a.sign(t, want{}).Certificate[0])).In(t)
	for _, tt := range []struct {
		name    string
		id      int // of the extension, in 2.5.29
		value   []byte
		revoked bool
	}{
		{"of something unknown", 99, []byte{2, 1, 1}, true},
		{"for users", 28, []byte{0x30, 3, 0x81, 1, 0xff}, true},
		{"at a place, for some reasons", 28, []byte{0x30, 13, 0xa0, 7, 0xa0, 5, 0x86, 3, 'u', ':', 'x', 0x83, 2, 5, 0x60}, true},
		{"indirect", 28, []byte{0x30, 3, 0x84, 1, 0xff}, false},
		{"perhaps indirect", 28, []byte{0x30, 9, 0x84}, false},
		{"with something behind it", 28, []byte{0x30, 3, 0x81, 1, 0xff, 5, 0}, false},
		{"changes", 27, []byte{2, 1, 1}, false},
	} {
		status := func(serial *big.Int) (known, revoked bool) {
			more := []pkix.Extension{{Id: []int{2, 5, 29, tt.id}, Critical: true, Value: tt.value}}
			l := expect.NoError(x509.ParseRevocationList(a.revokes(t, soon, more, serial))).In(t)
			return lists{l}.status(leaf, a.cert, time.Now())
		}
		_, revoked := status(leaf.SerialNumber)
		require.Equal(t, tt.revoked, revoked, tt.name)
		known, revoked := status(big.NewInt(99))
		require.False(t, known || revoked, tt.name)
	}
}

// A list counts only from ThisUpdate to NextUpdate, and only for certificates of the issuer that it
// names.
func TestListsThatDoNotCount(t *testing.T) {
	a := newAuthority(t, "an authority")
	leaf := expect.NoError(x509.ParseCertificate(a.sign(t, want{}).Certificate[0])).In(t)
	now := time.Now()
	renamed := *a.cert // the same key under another name
	renamed.RawSubject = newAuthority(t, "another authority").cert.RawSubject
	for _, tt := range []struct {
		name   string
		issuer *x509.Certificate
		now    time.Time
		counts bool
	}{
		{"of today", a.cert, now, true},
		{"without an end", a.cert, now.Add(2 * time.Hour), true},
		{"of tomorrow", a.cert, now.Add(-2 * time.Hour), false},
		{"of yesterday", a.cert, now.Add(2 * time.Hour), false},
		{"of another issuer", &renamed, now, false},
	} {
		for _, serial := range []*big.Int{leaf.SerialNumber, big.NewInt(99)} {
			by := *a
			by.cert = tt.issuer
			l := expect.NoError(x509.ParseRevocationList(by.revokes(t, now.Add(time.Hour), nil, serial))).In(t)
			if tt.name == "without an end" {
				l.NextUpdate = time.Time{}
			}
			known, revoked := lists{l}.status(leaf, a.cert, tt.now)
			require.Equal(t, tt.counts, known, tt.name)
			require.Equal(t, tt.counts && serial == leaf.SerialNumber, revoked, tt.name)
		}
	}
}
