package tlstransport

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// signature_algs limits what we sign with and the kinds of keys that peers may have; a certificate
// of our own that can sign with none of them is refused at the start. signature_algs_cert limits
// what chains are signed with.
func TestSignatureAlgs(t *testing.T) {
	t.Parallel()                                           // it waits
	a, dir := newAuthority(t, "an authority"), t.TempDir() // signs with ECDSA and SHA-256
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	o := certOptions(ca, cert, key)
	_, rsaCert, rsaPrivate := a.files(t, t.TempDir(), a.sign(t, want{key: rsaKey(t)}))
	rsaOptions := certOptions(ca, rsaCert, rsaPrivate)
	_, err := FromOptFile(optFile(t, dir, rsaOptions+",{signature_algs,[ecdsa_secp256r1_sha256,eddsa_ed25519]}", ""), nil)
	e := expect.As[*OptionError](t, err)
	require.Equal(t, "certfile", e.Option)
	require.ErrorIs(t, err, errCannotSign)

	const verify = ",{fail_if_no_peer_cert,true}"
	for _, tt := range []struct {
		name, server, client string
		refuses              role // 0: neither
		err                  error
	}{
		{"allowed", o + verify + ",{signature_algs,[ecdsa_secp256r1_sha256]}",
			o + ",{signature_algs,[{sha256,ecdsa}]}", 0, nil},
		{"a server's key", rsaOptions + verify, o + ",{signature_algs,[ecdsa_secp256r1_sha256]}",
			client, errCannotSign},
		{"a client's key", o + verify + ",{signature_algs,[ecdsa_secp256r1_sha256]}", rsaOptions,
			server, errCannotSign},
		{"allowed chain", o + verify, rsaOptions + ",{signature_algs_cert,[ecdsa_secp256r1_sha256]}", 0, nil},
		{"a server's chain", o + verify, o + ",{signature_algs_cert,[rsa_pkcs1_sha256]}", client,
			errSignedBy},
		{"a client's chain", o + verify + ",{signature_algs_cert,[ecdsa_secp384r1_sha384]}", o,
			server, errSignedBy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := optBench(t, optFile(t, dir, tt.server, tt.client), Options{})
			c, s := w.pair()
			<-c.over
			<-s.over
			switch tt.refuses {
			case 0:
				exchange(t, ours{c}, ours{s}, 10)
			case client:
				require.ErrorIs(t, c.failure, tt.err)
			case server:
				require.ErrorIs(t, s.failure, tt.err)
			}
		})
	}
}

// With {certificate_authorities,false} a server does not tell its authorities, of which there may
// then be any number; it verifies clients all the same.
func TestAuthoritiesNotTold(t *testing.T) {
	t.Parallel() // it waits
	a, other, dir := newAuthority(t, "an authority"), newAuthority(t, "another authority"),
		t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	all := [][]byte{a.cert.Raw}
	for i := range 17 {
		all = append(all, newAuthority(t, strings.Repeat(string(rune('a'+i)), 4000)).cert.Raw)
	}
	many := certOptions(bundle(t, dir, all...), cert, key)
	for _, tt := range []struct {
		options string
		client  *tls.Config
		check   Failure // empty: it is accepted
	}{
		{",{fail_if_no_peer_cert,true}", a.mutual(t), ""},
		{",{fail_if_no_peer_cert,true}", &tls.Config{RootCAs: a.pool}, FailureNoCertificate},
		{"", &tls.Config{RootCAs: a.pool}, ""},
		{"", &tls.Config{RootCAs: a.pool, Certificates: other.mutual(t).Certificates},
			FailureUnknownAuthority},
	} {
		w := optBench(t, optFile(t, dir, many+",{certificate_authorities,false}"+tt.options,
			certOptions(ca, cert, key)), Options{})
		told := make(chan *tls.CertificateRequestInfo, 1)
		cfg := tt.client.Clone()
		cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate,
			error) {
			told <- info
			return &append(cfg.Certificates, tls.Certificate{})[0], nil
		}
		s, c := w.against(server, cfg)
		if tt.check == "" {
			exchange(t, ours{s}, c, 10)
		} else {
			_ = c.Handshake() // in TLS 1.3 it is over before the server's check
			<-s.over
			e := expect.As[*PeerError](t, s.failure)
			require.Equal(t, tt.check, e.Failure, e)
		}
		require.Empty(t, (<-told).AcceptableCAs)
	}
	_, err := FromOptFile(optFile(t, dir, many, ""), nil)
	require.ErrorContains(t, err, "{certificate_authorities,false}")
}
