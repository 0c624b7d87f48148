package tlstransport

import (
	"crypto"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxKeyFile bounds files of certificates and keys.
const maxKeyFile = 16 << 20

// readUpTo reads a file, or limit+1 bytes of one that is larger: a device or a pipe does not tell its size beforehand.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

func readPEM(path string) ([]*pem.Block, error) {
	b, err := readUpTo(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxKeyFile)
	}
	var blocks []*pem.Block
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: nothing in PEM format", path)
	}
	return blocks, nil
}

// readCertificates reads a chain, the node's own certificate first.
func readCertificates(path string) ([][]byte, error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	for _, b := range blocks {
		if b.Type == "CERTIFICATE" {
			chain = append(chain, b.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	return chain, nil
}

// readKey reads the first private key of a PEM file: PKCS #1, SEC 1 or PKCS #8, encrypted ones with their password.
func readKey(path, password string) (crypto.Signer, error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		key, err := parseKey(b, password)
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
		return nil, errors.New("the private key is encrypted in OpenSSL's old form, by means of MD5, which GODEBUG=fips140=only forbids: " +
			"openssl pkcs8 -topk8 makes one of today's form")
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

// readPair reads a certificate with its chain, and its key. option is the name of the option to blame for an error.
func readPair(f certFiles) (pair tls.Certificate, option string, err error) {
	chain, err := readCertificates(f.cert)
	if err != nil {
		return pair, "certfile", err
	}
	key, err := readKey(f.key, f.password)
	if err != nil {
		return pair, "keyfile", err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return pair, "certfile", fmt.Errorf("%s: %w", f.cert, err)
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(leaf.PublicKey) {
		return pair, "keyfile", fmt.Errorf("the key in %s is not that of the certificate in %s", f.key, f.cert)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, "", nil
}
