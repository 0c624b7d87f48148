package tlstransport

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// If all authorities are roots, crypto/tls and trust.chains find the same chains.
func TestAreRootsAsksTheSame(t *testing.T) {
	seed := mrand.Uint64()
	t.Log("seed", seed)
	r := mrand.New(mrand.NewPCG(seed, 0))
	serial := int64(1)
	type entity struct {
		key  *ecdsa.PrivateKey
		cert *x509.Certificate
	}
	sign := func(tmpl x509.Certificate, key *ecdsa.PrivateKey, by *x509.Certificate, byKey *ecdsa.PrivateKey) *x509.Certificate {
		serial++
		tmpl.SerialNumber = big.NewInt(serial)
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if r.IntN(8) == 0 {
			tmpl.NotAfter = time.Now().Add(-time.Minute)
		}
		if by == nil {
			by = &tmpl
		}
		der := expect.NoError(x509.CreateCertificate(rand.Reader, &tmpl, by, key.Public(), byKey)).In(t)
		return expect.NoError(x509.ParseCertificate(der)).In(t)
	}
	ca := func() x509.Certificate {
		c := x509.Certificate{Subject: pkix.Name{CommonName: []string{"one", "two", "three"}[r.IntN(3)]}}
		if r.IntN(4) > 0 {
			c.BasicConstraintsValid, c.IsCA = true, r.IntN(6) > 0
			if r.IntN(3) == 0 && c.IsCA {
				c.MaxPathLen, c.MaxPathLenZero = 0, true
			}
		}
		switch r.IntN(5) {
		case 0:
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		case 1:
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}
		if r.IntN(6) == 0 {
			c.KeyUsage = x509.KeyUsageDigitalSignature
		}
		return c
	}
	accepted := 0
	for range 300 {
		var all []entity
		for range 1 + r.IntN(3) { // roots
			k := ecKey(t)
			all = append(all, entity{k, sign(ca(), k, nil, k)})
		}
		roots := len(all)
		for range r.IntN(3) { // intermediate authorities, some cross-signed
			by := all[r.IntN(len(all))]
			k := ecKey(t)
			c := ca()
			if r.IntN(3) == 0 {
				o := all[r.IntN(len(all))]
				k, c.Subject = o.key, o.cert.Subject
			}
			all = append(all, entity{k, sign(c, k, by.cert, by.key)})
		}
		by := all[r.IntN(len(all))]
		leaf := ca()
		leaf.Subject.CommonName = "leaf"
		lk := ecKey(t)
		sent := []*x509.Certificate{sign(leaf, lk, by.cert, by.key)}
		if r.IntN(8) == 0 {
			sent[0] = by.cert
		}
		for _, e := range all {
			if r.IntN(2) == 0 {
				sent = append(sent, e.cert)
			}
		}
		var b bytes.Buffer
		for i, e := range all {
			if i < roots && r.IntN(5) > 0 || i >= roots && r.IntN(12) == 0 {
				require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: e.cert.Raw}))
				if r.IntN(6) == 0 {
					require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: e.cert.Raw}))
				}
			}
		}
		if b.Len() == 0 {
			continue
		}
		path := filepath.Join(t.TempDir(), "ca.pem")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		trust, _, err := readAuthorities(path)
		require.NoError(t, err)
		if !trust.areRoots() {
			continue
		}
		// As in crypto/tls's processCertsFromClient.
		between := x509.NewCertPool()
		for _, c := range sent[1:] {
			between.AddCert(c)
		}
		usage := x509.ExtKeyUsageClientAuth
		theirs, err1 := sent[0].Verify(x509.VerifyOptions{Roots: trust.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
		ours, err2 := trust.chains(sent, usage)
		require.Equal(t, err1 == nil, err2 == nil, "%v, %v", err1, err2)
		require.Equal(t, len(theirs), len(ours))
		for i := range theirs {
			require.Equal(t, len(theirs[i]), len(ours[i]))
			for j := range theirs[i] {
				require.True(t, theirs[i][j].Equal(ours[i][j]))
			}
		}
		if err1 == nil {
			accepted++
		}
	}
	require.Positive(t, accepted)
}
