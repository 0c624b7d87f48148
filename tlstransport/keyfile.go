package tlstransport

import (
	"crypto"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// readKey reads the first private key of a PEM file: PKCS #1, SEC 1 or PKCS #8, encrypted ones with
// their password.
func readKey(path, password string) (crypto.Signer, error) {
	parts, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if !strings.HasSuffix(p.kind, "PRIVATE KEY") {
			continue
		}
		if p.err != nil {
			return nil, fmt.Errorf("%s: line %d: the private key cannot be read: %w", path, p.line,
				p.err)
		}
		key, err := parseKey(p.Block, password)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%s: no private key in it", path)
}

var errPassword = errors.New("wrong password")

func parseKey(b *pem.Block, password string) (key crypto.Signer, err error) {
	der := b.Bytes
	encrypted := b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
	switch {
	case encrypted && password == "":
		return nil, errors.New("the private key is encrypted, and there is no password")
	case b.Type == "ENCRYPTED PRIVATE KEY":
		der, err = decryptPKCS8(der, password)
	case encrypted && fips140.Enforced():
		return nil, errors.New("the private key is encrypted in OpenSSL's old form, by means of MD5, " +
			"which GODEBUG=fips140=only forbids: openssl pkcs8 -topk8 makes one of today's form")
	case encrypted:
		//lint:ignore SA1019 OpenSSL's old format, which operators have keys in
		der, err = x509.DecryptPEMBlock(b, []byte(password))
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		err = errPassword
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting the private key: %w", err)
	}
	var parsed any
	switch b.Type {
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(der)
	case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(der)
	default:
		return nil, fmt.Errorf("private keys of the kind %q are not supported", b.Type)
	}
	if err != nil {
		if encrypted {
			err = fmt.Errorf("%w (is it the wrong password?)", err)
		}
		return nil, err
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", parsed)
	}
	return signer, nil
}

// readPair reads a certificate with its chain, and its key. option is the name of the option to
// blame for an error, and faults is for warnings.
func readPair(f certFiles) (pair tls.Certificate, faults []error, option string, err error) {
	chain, err := readCertificates(f.cert)
	if err == nil {
		err = chain.first // what comes behind it is not the node's own certificate
	}
	if err != nil {
		return pair, nil, "certfile", err
	}
	key, err := readKey(f.key, f.password)
	if err != nil {
		return pair, nil, "keyfile", err
	}
	leaf := chain.certificates[0]
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(leaf.PublicKey) {
		return pair, nil, "keyfile", fmt.Errorf("the key in %s is not that of the certificate in %s",
			f.key, f.cert)
	}
	pair = tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain.certificates {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, chain.faults, "", nil
}
