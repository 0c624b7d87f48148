package tlstransport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// An authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := expect.NoError(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).In(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
	}
	der := expect.NoError(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)).In(t)
	cert := expect.NoError(x509.ParseCertificate(der)).In(t)
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// below makes an authority whose certificate a has signed.
func (a *authority) below(t testing.TB, name string) *authority {
	t.Helper()
	b := newAuthority(t, name)
	template := *b.cert
	template.SerialNumber = big.NewInt(2)
	der := expect.NoError(x509.CreateCertificate(rand.Reader, &template, a.cert, b.key.Public(), a.key)).In(t)
	b.cert = expect.NoError(x509.ParseCertificate(der)).In(t)
	return b
}

// bundle writes certificates to a file of their own.
func bundle(t testing.TB, dir string, certs ...[]byte) string {
	t.Helper()
	var b []byte
	for _, der := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	f := expect.NoError(os.CreateTemp(dir, "*.pem")).In(t)
	require.NoError(t, expect.Err(f.Write(b)))
	require.NoError(t, f.Close())
	return f.Name()
}

// A want describes a certificate to make; that of the zero want is good for localhost and
// 127.0.0.1.
type want struct {
	name    string   // common name
	hosts   []string // instead of the loopback interface
	emails  []string
	expired bool
	key     crypto.Signer
}

// sign makes a certificate, for both roles.
func (a *authority) sign(t testing.TB, w want) tls.Certificate {
	t.Helper()
	if w.key == nil {
		key := expect.NoError(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).In(t)
		w.key = key
	}
	if w.name == "" {
		w.name = "test"
	}
	serial := expect.NoError(rand.Int(rand.Reader, big.NewInt(1<<60))).In(t)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: w.name}, EmailAddresses: w.emails,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if w.expired {
		template.NotAfter = time.Now().Add(-time.Minute)
	}
	if w.hosts == nil {
		w.hosts = []string{"localhost", "127.0.0.1"}
	}
	for _, h := range w.hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	der := expect.NoError(x509.CreateCertificate(rand.Reader, template, a.cert, w.key.Public(), a.key)).In(t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: w.key}
}

// mutual is a configuration for both roles, in which both sides show and verify certificates.
func (a *authority) mutual(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{
		Certificates: []tls.Certificate{a.sign(t, want{})}, RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// files writes the authority's certificate and another with its key, and returns their paths.
func (a *authority) files(t testing.TB, dir string, c tls.Certificate) (ca, cert, key string) {
	t.Helper()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	der := expect.NoError(x509.MarshalPKCS8PrivateKey(c.PrivateKey)).In(t)
	return write("ca.pem", "CERTIFICATE", a.cert.Raw), write("node.pem", "CERTIFICATE", c.Certificate[0]), write("node.key",
		"PRIVATE KEY", der)
}
