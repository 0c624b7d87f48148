package tlstransport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
)

// authorities are the certificates of a cacertfile. As in OTP only those that have signed themselves are trusted, whatever else they say;
// the others are there to make chains whole.
type authorities struct {
	all           []*x509.Certificate
	pool          *x509.CertPool // all of them
	roots, others *x509.CertPool
}

func readAuthorities(path string) (*authorities, error) {
	certs, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	a := &authorities{pool: x509.NewCertPool(), roots: x509.NewCertPool(), others: x509.NewCertPool()}
	for _, der := range certs {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		a.all = append(a.all, c)
		a.pool.AddCert(c)
		if isSignedBy(c, c) {
			a.roots.AddCert(c)
		} else {
			a.others.AddCert(c)
		}
	}
	return a, nil
}

// isSignedBy goes by names and keys alone. A signature of a kind too old or too new to be looked at is believed: whom to trust the file
// says, and chains are verified in full later.
func isSignedBy(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return false
	}
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	return err == nil || errors.As(err, new(x509.InsecureAlgorithmError)) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// chains are those from a peer's certificate, which comes first, to a root.
func (a *authorities) chains(sent []*x509.Certificate, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	between := a.others.Clone()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	return sent[0].Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
}
