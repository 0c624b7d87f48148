package tlstransport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// authorities are the certificates of a cacertfile. As in OTP only those that have signed themselves are trusted, also where they do not say
// that they are authorities; the others are there to make chains whole.
type authorities struct {
	all           []*x509.Certificate
	pool          *x509.CertPool // all of them
	roots, others *x509.CertPool
	trusted       int // how many are roots
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
			if !c.BasicConstraintsValid { // openssl x509 -req -signkey makes such ones: version 3, and not a word on being an authority
				c.BasicConstraintsValid, c.IsCA, c.MaxPathLen = true, true, -1
			}
			a.roots.AddCert(c)
			a.trusted++
		} else {
			a.others.AddCert(c)
		}
	}
	return a, nil
}

// areRoots says that all are trusted.
func (a *authorities) areRoots() bool { return len(a.all) == a.trusted }

// isSignedBy goes by names and keys alone. A signature of a kind too old or too new to be looked at is believed: whom to trust the file
// says, and chains are verified in full later.
func isSignedBy(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return false
	}
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	return err == nil || errors.As(err, new(x509.InsecureAlgorithmError)) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// complete adds to a chain of ours what is missing between its end and a root, as OTP does: peers may know the root alone.
func (a *authorities) complete(chain [][]byte) [][]byte {
	last, err := x509.ParseCertificate(chain[len(chain)-1])
	for err == nil && !isSignedBy(last, last) {
		next := a.issuer(last)
		if next == nil || isSignedBy(next, next) || slices.ContainsFunc(chain, func(der []byte) bool { return bytes.Equal(der, next.Raw) }) {
			break
		}
		chain, last = append(chain, next.Raw), next
	}
	return chain
}

// issuer finds who has signed a certificate, nil: it is not there. A root goes before others.
func (a *authorities) issuer(c *x509.Certificate) (found *x509.Certificate) {
	for _, by := range a.all {
		if isSignedBy(c, by) && (found == nil || isSignedBy(by, by)) {
			found = by
		}
	}
	return found
}

// chains are those from a peer's certificate, which comes first, to a root.
func (a *authorities) chains(sent []*x509.Certificate, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	between := a.others.Clone()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	return sent[0].Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
}
