package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	made int
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{cert: cert, key: key, dir: t.TempDir()}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

// A want says what a certificate shall be like; the zero want gives a good one for 127.0.0.1 and
// localhost.
type want struct {
	name    string
	host    string
	emails  []string
	expired bool
	usages  []x509.ExtKeyUsage // empty: those of both roles
	keys    x509.KeyUsage      // 0: signatures
}

// A made is a certificate that was made, in files and as a Go value.
type made struct {
	cert, key string
	pair      tls.Certificate
}

func (a *authority) sign(t testing.TB, w want) made {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.made++
	if w.name == "" {
		w.name = "node"
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: w.name}, EmailAddresses: w.emails,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if w.host != "" {
		template.DNSNames, template.IPAddresses = []string{w.host}, nil
	}
	if w.usages != nil {
		template.ExtKeyUsage = w.usages
	}
	if w.keys != 0 {
		template.KeyUsage = w.keys
	}
	if w.expired {
		template.NotAfter = time.Now().Add(-time.Minute)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return made{
		a.write(t, fmt.Sprintf("%d.pem", a.made), "CERTIFICATE", der), a.write(t, fmt.Sprintf("%d.key", a.made), "PRIVATE KEY", pkcs8),
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}
}

// options are an option file's options for a role: those of a certificate, and more.
func (a *authority) options(c made, more ...string) string {
	return strings.Join(append([]string{
		fmt.Sprintf("{certfile,%q}", c.cert), fmt.Sprintf("{keyfile,%q}", c.key), fmt.Sprintf("{cacertfile,%q}", a.ca()),
	}, more...), ",")
}

// file writes an option file.
func (a *authority) file(t testing.TB, server, client string) string {
	t.Helper()
	a.made++
	path := filepath.Join(a.dir, fmt.Sprintf("%d.conf", a.made))
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "[{server,[%s]},\n {client,[%s]}].\n", server, client), 0o600))
	return path
}

// mutual is an option file with which both sides show and verify certificates, and more options in
// both roles.
func (a *authority) mutual(t testing.TB, c made, more ...string) string {
	t.Helper()
	server := append([]string{"{verify,verify_peer}", "{fail_if_no_peer_cert,true}"}, more...)
	return a.file(t, a.options(c, server...), a.options(c, append([]string{"{verify,verify_peer}"}, more...)...))
}
