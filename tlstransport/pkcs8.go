package tlstransport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// The structures of an encrypted private key: RFC 5958, section 3 (EncryptedPrivateKeyInfo), and
// RFC 8018, appendix A (PBES2, PBKDF2).
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Params struct {
		Derivation, Cipher pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// maxIterations bounds the work of a password's derivation. OpenSSL's default is 2048; about
// 600,000 are recommended today.
const maxIterations = 10_000_000

func oid(n ...int) asn1.ObjectIdentifier { return n }

// decryptPKCS8 decrypts a PKCS #8 key that was encrypted with PBES2 and PBKDF2, which is what
// OpenSSL writes.
func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var k encryptedKey
	if err := unmarshal(der, &k); err != nil {
		return nil, err
	}
	if !k.Algorithm.Algorithm.Equal(oid(1, 2, 840, 113549, 1, 5, 13)) {
		return nil, fmt.Errorf("encryption scheme %v is not supported, only PBES2 is", k.Algorithm.Algorithm)
	}
	var scheme pbes2Params
	if err := unmarshal(k.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, err
	}
	if !scheme.Derivation.Algorithm.Equal(oid(1, 2, 840, 113549, 1, 5, 12)) {
		return nil, fmt.Errorf("key derivation %v is not supported, only PBKDF2 is", scheme.Derivation.Algorithm)
	}
	var derivation pbkdf2Params
	if err := unmarshal(scheme.Derivation.Parameters.FullBytes, &derivation); err != nil {
		return nil, err
	}
	if derivation.Iterations < 1 || derivation.Iterations > maxIterations {
		return nil, fmt.Errorf("%d iterations", derivation.Iterations)
	}
	h, err := derivation.hash()
	if err != nil {
		return nil, err
	}
	size, newCipher, err := blockCipher(scheme.Cipher.Algorithm)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if err := unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(h, password, derivation.Salt, derivation.Iterations, size)
	if err != nil {
		return nil, err
	}
	block, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	return decryptCBC(block, iv, k.Data)
}

func decryptCBC(block cipher.Block, iv, data []byte) ([]byte, error) {
	n := block.BlockSize()
	if len(iv) != n || len(data) == 0 || len(data)%n != 0 {
		return nil, errors.New("the encrypted data has a wrong length")
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > n {
		return nil, errPassword
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, errPassword
		}
	}
	return plain[:len(plain)-padding], nil
}

func (p *pbkdf2Params) hash() (func() hash.Hash, error) {
	switch id := p.PRF.Algorithm; {
	case id == nil, id.Equal(oid(1, 2, 840, 113549, 2, 7)):
		return sha1.New, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 8)):
		return sha256.New224, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 9)):
		return sha256.New, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 10)):
		return sha512.New384, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 11)):
		return sha512.New, nil
	default:
		return nil, fmt.Errorf("PBKDF2 with %v is not supported", id)
	}
}

func blockCipher(id asn1.ObjectIdentifier) (size int, new func([]byte) (cipher.Block, error), err error) {
	switch {
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 2)):
		return 16, aes.NewCipher, nil
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 22)):
		return 24, aes.NewCipher, nil
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 42)):
		return 32, aes.NewCipher, nil
	case id.Equal(oid(1, 2, 840, 113549, 3, 7)):
		return 24, des.NewTripleDESCipher, nil
	}
	return 0, nil, fmt.Errorf("cipher %v is not supported, only AES-CBC and DES-EDE3-CBC are", id)
}

func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes are left over")
	}
	return err
}
