package web_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// certificate is a file with a certificate and its key.
func certificate(t *testing.T) string {
	t.Helper()
	key := expect.NoError(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).In(t)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der := expect.NoError(x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)).In(t)
	secret := expect.NoError(x509.MarshalPKCS8PrivateKey(key)).In(t)
	file := filepath.Join(t.TempDir(), "pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}
