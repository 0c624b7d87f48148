package tlstransport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// signSchemes are the signature schemes by their names in ssl(3erl), sign_scheme().
func signSchemes() map[ei.Atom]tls.SignatureScheme {
	return map[ei.Atom]tls.SignatureScheme{
		"ecdsa_secp256r1_sha256": tls.ECDSAWithP256AndSHA256,
		"ecdsa_secp384r1_sha384": tls.ECDSAWithP384AndSHA384,
		"ecdsa_secp521r1_sha512": tls.ECDSAWithP521AndSHA512,
		"eddsa_ed25519":          tls.Ed25519,
		"rsa_pss_rsae_sha256":    tls.PSSWithSHA256,
		"rsa_pss_rsae_sha384":    tls.PSSWithSHA384,
		"rsa_pss_rsae_sha512":    tls.PSSWithSHA512,
		"rsa_pkcs1_sha256":       tls.PKCS1WithSHA256,
		"rsa_pkcs1_sha384":       tls.PKCS1WithSHA384,
		"rsa_pkcs1_sha512":       tls.PKCS1WithSHA512,
	}
}

// schemeOf reads a signature scheme, or a pair of a hash and an algorithm, which stands for one in
// TLS 1.2.
func schemeOf(v ei.Term) (tls.SignatureScheme, error) {
	name := word(v)
	if t, ok := v.(ei.Tuple); ok && len(t) == 2 {
		curve := map[ei.Atom]ei.Atom{
			"sha256": "secp256r1_", "sha384": "secp384r1_", "sha512": "secp521r1_",
		}
		switch hash := word(t[0]); word(t[1]) {
		case "ecdsa":
			name = "ecdsa_" + curve[hash] + hash
		case "rsa":
			name = "rsa_pkcs1_" + hash
		case "dsa":
			name = "dsa"
		}
	}
	if name == "" {
		return 0, fmt.Errorf("%s is no signature scheme", outline(v))
	}
	scheme, ok := signSchemes()[name]
	if !ok {
		return 0, fmt.Errorf("%s is %w", show(v), errUnspoken)
	}
	return scheme, nil
}

// signatureAlgs is the meaning of signature_algs: it limits what this node signs with, and which
// kinds of keys peers may have.
func signatureAlgs(o *roleOptions, _ role, v ei.Term) (err error) {
	o.signs, err = spoken(o, "signature_algs", v, schemeOf)
	return err
}

// signatureAlgsCert is the meaning of signature_algs_cert: it limits what certificates of peers are
// signed with.
func signatureAlgsCert(o *roleOptions, _ role, v ei.Term) (err error) {
	o.certSigns, err = spoken(o, "signature_algs_cert", v, schemeOf)
	return err
}

// canSign tells whether a key can sign with one of schemes; nil: with any. In TLS 1.2 a scheme of
// ECDSA names no curve.
func canSign(key crypto.PublicKey, schemes []tls.SignatureScheme) bool {
	if schemes == nil {
		return true
	}
	var kind []tls.SignatureScheme
	switch key.(type) {
	case *rsa.PublicKey:
		kind = []tls.SignatureScheme{
			tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
			tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
		}
	case *ecdsa.PublicKey:
		kind = []tls.SignatureScheme{
			tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
		}
	case ed25519.PublicKey:
		kind = []tls.SignatureScheme{tls.Ed25519}
	}
	allowed := func(s tls.SignatureScheme) bool { return slices.Contains(schemes, s) }
	return slices.ContainsFunc(kind, allowed)
}

// signedBy tells whether the certificates of a chain, except the root, are signed with schemes;
// nil: with any.
func signedBy(chain []*x509.Certificate, schemes []tls.SignatureScheme) bool {
	if schemes == nil {
		return true
	}
	of := map[x509.SignatureAlgorithm]tls.SignatureScheme{
		x509.SHA256WithRSA:    tls.PKCS1WithSHA256,
		x509.SHA384WithRSA:    tls.PKCS1WithSHA384,
		x509.SHA512WithRSA:    tls.PKCS1WithSHA512,
		x509.SHA256WithRSAPSS: tls.PSSWithSHA256,
		x509.SHA384WithRSAPSS: tls.PSSWithSHA384,
		x509.SHA512WithRSAPSS: tls.PSSWithSHA512,
		x509.ECDSAWithSHA256:  tls.ECDSAWithP256AndSHA256,
		x509.ECDSAWithSHA384:  tls.ECDSAWithP384AndSHA384,
		x509.ECDSAWithSHA512:  tls.ECDSAWithP521AndSHA512,
		x509.PureEd25519:      tls.Ed25519,
	}
	for _, c := range chain[:len(chain)-1] {
		if !slices.Contains(schemes, of[c.SignatureAlgorithm]) {
			return false
		}
	}
	return true
}

var (
	errCannotSign = errors.New("its kind of key can sign with nothing among signature_algs")
	errSignedBy   = errors.New("a certificate's signature is not among signature_algs_cert")
)
