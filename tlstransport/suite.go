package tlstransport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// A suite is a cipher suite whose records this package can protect itself.
type suite struct {
	id      uint16
	version uint16
	key     int // bytes
	hash    func() hash.Hash
	aead    func(key []byte) (cipher.AEAD, error)
	// explicit is the part of the nonce that TLS 1.2 sends with each record: 8 bytes for AES-GCM
	// (RFC 5288), none for ChaCha20 (RFC 7905). TLS 1.3 sends none.
	explicit int
}

func is13(id uint16) bool { return id>>8 == tls.TLS_AES_128_GCM_SHA256>>8 }

// suiteOf returns a suite, nil if this package cannot protect its records.
func suiteOf(version, id uint16) *suite {
	s := suite{id: id, version: version, hash: sha256.New, aead: aesGCM}
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		s.key = 16
	case tls.TLS_AES_256_GCM_SHA384:
		s.key, s.hash = 32, sha512.New384
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		s.key, s.aead = chacha20poly1305.KeySize, chacha20poly1305.New
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
		s.key, s.explicit = 16, 8
	case tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		s.key, s.explicit, s.hash = 32, 8, sha512.New384
	case tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		s.key, s.aead = chacha20poly1305.KeySize, chacha20poly1305.New
	default:
		return nil
	}
	if (version == tls.VersionTLS13) != is13(id) || version != tls.VersionTLS12 &&
		version != tls.VersionTLS13 {
		return nil
	}
	return &s
}

func aesGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// fixedIV is the length of the part of the nonce that is derived.
func (s *suite) fixedIV() int { return nonceSize - s.explicit }

// nonceSize is the length of nonces in all suites.
const nonceSize = 12

// expandLabel is HKDF-Expand-Label with an empty context. RFC 8446, section 7.1.
func (s *suite) expandLabel(secret []byte, label string, n int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	info = append(info, 0)
	return hkdf.Expand(s.hash, secret, string(info), n)
}

// traffic derives the key and the nonce's fixed part from a traffic secret. RFC 8446, section 7.3.
func (s *suite) traffic(secret []byte) (key, iv []byte, err error) {
	if key, err = s.expandLabel(secret, "key", s.key); err != nil {
		return nil, nil, err
	}
	iv, err = s.expandLabel(secret, "iv", nonceSize)
	return key, iv, err
}

// next is the traffic secret after a key update. RFC 8446, section 7.2.
func (s *suite) next(secret []byte) ([]byte, error) {
	return s.expandLabel(secret, "traffic upd", s.hash().Size())
}

// keyBlock derives both directions' keys and nonces of TLS 1.2 from the master secret. RFC 5246,
// section 6.3.
func (s *suite) keyBlock(master, clientRandom, serverRandom []byte) (clientKey, clientIV, serverKey, serverIV []byte) {
	seed := append([]byte("key expansion"), serverRandom...)
	seed = append(seed, clientRandom...)
	iv := s.fixedIV()
	b := prf(s.hash, master, seed, 2*s.key+2*iv)
	cut := func(n int) []byte {
		part := b[:n:n]
		b = b[n:]
		return part
	}
	clientKey, serverKey = cut(s.key), cut(s.key)
	return clientKey, cut(iv), serverKey, cut(iv)
}

// prf is P_hash. RFC 5246, section 5.
func prf(h func() hash.Hash, secret, seed []byte, n int) []byte {
	mac := hmac.New(h, secret)
	sum := func(to []byte, parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(to)
	}
	out := make([]byte, 0, n+mac.Size()) // never grows, so no copy is left that is not zeroed
	for a := sum(nil, seed); len(out) < n; a = sum(nil, a) {
		out = sum(out, a, seed)
	}
	clear(out[n:])
	return out[:n]
}

func (s *suite) String() string {
	return fmt.Sprintf("%s with %s", tls.VersionName(s.version), tls.CipherSuiteName(s.id))
}
