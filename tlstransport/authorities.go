package tlstransport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// authorities are the certificates of a cacertfile. As in OTP only the self-signed ones are
// trusted, even those that do not say that they are authorities; the others serve to complete
// chains.
type authorities struct {
	all           []*x509.Certificate
	pool          *x509.CertPool // all of them
	roots, others *x509.CertPool
	trusted       int // how many are roots
}

// readAuthorities reads a cacertfile; its faults are for warnings.
func readAuthorities(path string) (a *authorities, faults []error, err error) {
	f, err := readCertificates(path)
	if err != nil {
		return nil, nil, err
	}
	a = &authorities{
		all: f.certificates, pool: x509.NewCertPool(), roots: x509.NewCertPool(),
		others: x509.NewCertPool(),
	}
	for _, c := range a.all {
		a.pool.AddCert(c)
		if isSignedBy(c, c) {
			// as openssl x509 -req -signkey makes it: version 3 without basicConstraints
			if !c.BasicConstraintsValid {
				c.BasicConstraintsValid, c.IsCA, c.MaxPathLen = true, true, -1
			}
			a.roots.AddCert(c)
			a.trusted++
		} else {
			a.others.AddCert(c)
		}
	}
	if a.trusted == 0 {
		f.faults = append(f.faults, fmt.Errorf("%s: no peer is trusted: none of its certificates that "+
			"can be read is self-signed", path))
	}
	return a, f.faults, nil
}

// maxNames bounds the names of authorities, with two bytes each for their length, in a server's
// request for a certificate. See RFC 5246, 7.4.4, and RFC 8446, 4.2.4, where other extensions share
// the room.
const maxNames = 1<<16 - 1<<10

func (a *authorities) names() (bytes int) {
	for _, c := range a.all {
		bytes += 2 + len(c.RawSubject)
	}
	return bytes
}

// areRoots tells whether all certificates are trusted.
func (a *authorities) areRoots() bool { return len(a.all) == a.trusted }

// isSignedBy checks names and signatures only. It accepts a signature whose algorithm is too old or
// too new to be checked: the file decides what is trusted, and chains are verified in full later.
func isSignedBy(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return false
	}
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	return err == nil || errors.As(err, new(x509.InsecureAlgorithmError)) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// complete adds to our own chain the certificates that are missing between its end and a root, as
// OTP does: peers may know only the root.
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

// issuer finds the certificate that has signed c, a root if there are several; nil if there is
// none.
func (a *authorities) issuer(c *x509.Certificate) (found *x509.Certificate) {
	for _, by := range a.all {
		if isSignedBy(c, by) && (found == nil || isSignedBy(by, by)) {
			found = by
		}
	}
	return found
}

// chains returns the chains from a peer's certificate, the first of sent, to a root.
func (a *authorities) chains(sent []*x509.Certificate, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	between := a.others.Clone()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	return sent[0].Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
}
