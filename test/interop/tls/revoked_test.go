package tls

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
)

// One option file with a directory of revocation lists: both sides talk while it allows that, and
// both refuse a revoked certificate.
func TestRevoked(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		leaf, err := x509.ParseCertificate(c.pair.Certificate[0])
		require.NoError(t, err)
		plain := r.Start(t, otp.Options{})
		hash := plain.Eval(t, fmt.Sprintf(`(fun() -> {ok, Pem} = file:read_file(%q), [{_, Der, _}] = public_key:pem_decode(Pem),
			Issuer = element(5, element(2, public_key:pkix_decode_cert(Der, otp))),
			list_to_atom("h" ++ public_key:short_name_hash(public_key:pkix_normalize_name(Issuer))) end)()`, a.ca()))[1:]
		lists := t.TempDir()
		revoke := func(serials ...*big.Int) {
			list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
			for _, s := range serials {
				list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
					x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now()})
			}
			der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(lists, hash+".r0"), der, 0o600))
		}
		crl := fmt.Sprintf("{crl_check,peer},{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,%q}]}}}", lists)
		checks, open := a.mutual(t, c, crl), a.mutual(t, c)

		revoke()
		talk(t, r.Start(t, otp.Options{TLSOptFile: checks}), checks)

		revoke(leaf.SerialNumber)
		erl := r.Start(t, otp.Options{TLSOptFile: open}) // looks at no list
		n := startNode(t, erl.EpmdPort(), fromFile(t, checks, tlstransport.Options{}))
		_, err = n.Connect(background(t), erl.Name())
		var e *tlstransport.PeerError
		require.ErrorAs(t, err, &e)
		require.Equal(t, tlstransport.FailureRevoked, e.Failure)
		require.False(t, e.ByPeer)

		strict := r.Start(t, otp.Options{TLSOptFile: checks})
		n = startNode(t, strict.EpmdPort(), fromFile(t, open, tlstransport.Options{}))
		_, err = n.Connect(background(t), strict.Name())
		require.ErrorAs(t, err, &e)
		require.True(t, e.ByPeer)
		require.Contains(t, []tlstransport.Failure{tlstransport.FailureRevoked, tlstransport.FailureCertificate}, e.Failure)
	})
}
