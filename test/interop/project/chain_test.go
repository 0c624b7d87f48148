package project

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chain is a certificate of 127.0.0.1, and in PEM that of the authority which has signed it: OTP
// refuses servers that have signed their own.
func chain(t *testing.T) (server tls.Certificate, authority string) {
	t.Helper()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	of := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	signs, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err1)
	require.NoError(t, err2)
	root, err1 := x509.CreateCertificate(rand.Reader, ca, ca, signs.Public(), signs)
	leaf, err2 := x509.CreateCertificate(rand.Reader, of, ca, key.Public(), signs)
	require.NoError(t, err1)
	require.NoError(t, err2)
	authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}))
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}, authority
}
