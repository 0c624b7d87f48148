package tlstransport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A key file that was made by hand is refused, and neither stops the program nor keeps it busy.
func TestEncryptedKeyRefuses(t *testing.T) {
	der := func(v any) []byte {
		return expect.NoError(asn1.Marshal(v)).In(t)
	}
	algorithm := func(id asn1.ObjectIdentifier, parameters any) pkix.AlgorithmIdentifier {
		return pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.RawValue{FullBytes: der(parameters)}}
	}
	pbes2, pbkdf2, aes128 := oid(1, 2, 840, 113549, 1, 5, 13), oid(1, 2, 840, 113549, 1, 5, 12), oid(2, 16, 840, 1, 101, 3, 4, 1, 2)
	sha1PRF := algorithm(oid(1, 2, 840, 113549, 2, 7), asn1.NullRawValue)
	for _, tt := range []struct {
		name       string
		iterations int
		prf        pkix.AlgorithmIdentifier
		cipher     asn1.ObjectIdentifier
		iv, data   int
		says       string
	}{
		{"whatever", 1, sha1PRF, aes128, 16, 32, errPassword.Error()},
		{"no iterations", 0, sha1PRF, aes128, 16, 32, "0 iterations"},
		{"too many iterations", maxIterations + 1, sha1PRF, aes128, 16, 32, "10000001 iterations"},
		{"another hash", 1, algorithm(oid(1, 2, 3), asn1.NullRawValue), aes128, 16, 32, "PBKDF2 with 1.2.3 is not supported"},
		{"another cipher", 1, sha1PRF, oid(1, 2, 3), 16, 32, "cipher 1.2.3 is not supported"},
		{"no data", 1, sha1PRF, aes128, 16, 0, "wrong length"},
		{"half a block", 1, sha1PRF, aes128, 16, 24, "wrong length"},
		{"a short vector", 1, sha1PRF, aes128, 8, 32, "wrong length"},
		{"a long vector", 1, sha1PRF, aes128, 17, 32, "wrong length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := der(encryptedKey{
				Algorithm: algorithm(pbes2, pbes2Params{
					Derivation: algorithm(pbkdf2, pbkdf2Params{Salt: []byte("salt"), Iterations: tt.iterations, PRF: tt.prf}),
					Cipher:     algorithm(tt.cipher, make([]byte, tt.iv)),
				}),
				Data: make([]byte, tt.data),
			})
			require.ErrorContains(t, expect.Err(decryptPKCS8(key, "secret")), tt.says)
			require.Error(t, expect.Err(decryptPKCS8(append(key, 0), "secret")))
		})
	}
}

// The padding tells whether the password was right: 1 to 16 bytes, each of which says how many they
// are.
func TestPaddingIsChecked(t *testing.T) {
	block := expect.NoError(aes.NewCipher(make([]byte, 16))).In(t)
	for _, tt := range []struct {
		end  string // of 32 bytes
		left int    // of them; -1: refused
	}{
		{"\x01", 31}, {"\x00", -1}, {"\x02\x02", 30}, {"\x03\x02", -1}, {"\x03\x02\x03", -1}, {"\x11", -1},
		{"\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10", 16},
		{"\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11", -1},
	} {
		plain := make([]byte, 32)
		copy(plain[32-len(tt.end):], tt.end)
		data := make([]byte, 32)
		iv := make([]byte, 16)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, plain)
		got, err := decryptCBC(block, iv, data)
		if tt.left < 0 {
			require.ErrorIs(t, err, errPassword, "%x", tt.end)
			continue
		}
		require.NoError(t, err, "%x", tt.end)
		require.Equal(t, plain[:tt.left], got, "%x", tt.end)
	}
}
