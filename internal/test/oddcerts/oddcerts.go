// Package oddcerts makes certificates as people have them in their files and crypto/x509 does not
// take them, for tests of what a node does with such a file.
package oddcerts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
)

// An Odd is an odd certificate, self-signed.
type Odd struct {
	Name string
	DER  []byte
}

// PEM is the certificate as it stands in a file.
func (o Odd) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.DER})
}

// All makes one of each kind. Those on curves that Go does not have are made by the program
// openssl; without it, see [need.Program].
func All(t testing.TB) []Odd {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	all := []Odd{
		{"negative serial number", negativeSerial(t, key)},
		{"@ in a PrintableString", self(t, key, printable("ops@example.org"), nil)},
		{"_ in a PrintableString", self(t, key, printable("my_authority"), nil)},
		{"SAN that is no sequence", self(t, key, printable("one"), []byte{0x04, 0x01, 0x00})},
		{"SAN with an address of 8 bytes", self(t, key, printable("two"),
			[]byte{0x30, 0x0a, 0x87, 0x08, 10, 0, 0, 0, 255, 0, 0, 0})},
		{"garbage", []byte("no certificate at all")},
		{"empty", nil},
	}
	for _, curve := range [][]string{
		{"-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"}, {"-pkeyopt",
			"ec_paramgen_curve:secp256k1"},
		{"-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"},
	} {
		all = append(all, Odd{curve[len(curve)-1], onCurve(t, curve...)})
	}
	for _, o := range all {
		_, err := x509.ParseCertificate(o.DER)
		require.Error(t, err, "%s: it is not odd", o.Name)
	}
	return all
}

// printable is a name of one PrintableString, whatever is in it.
func printable(text string) []byte {
	commonName := asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte(text)}
	attribute := struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{asn1.ObjectIdentifier{2, 5, 4, 3}, commonName}
	one, err := asn1.Marshal(attribute)
	if err != nil {
		panic(err)
	}
	set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: one})
	if err != nil {
		panic(err)
	}
	name, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: set})
	if err != nil {
		panic(err)
	}
	return name
}

// self makes a self-signed authority with a name, and a subjectAltName if san is not nil.
func self(t testing.TB, key *ecdsa.PrivateKey, name, san []byte) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5), RawSubject: name, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
	}
	if san != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: san}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

// negativeSerial makes an authority with the serial number -123.
func negativeSerial(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	var c struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(self(t, key, printable("an authority"), nil), &c)
	require.NoError(t, err)
	const serial = 4 + 5 + 2 // behind the header and the version; its own header has two bytes
	require.Equal(t, byte(5), c.Signed.FullBytes[serial])
	c.Signed.FullBytes[serial] = 0x85
	sum := sha256.Sum256(c.Signed.FullBytes)
	c.Signature.Bytes, err = ecdsa.SignASN1(rand.Reader, key, sum[:])
	require.NoError(t, err)
	c.Signature.BitLength = 8 * len(c.Signature.Bytes)
	der, err := asn1.Marshal(c)
	require.NoError(t, err)
	return der
}

// onCurve makes an authority with a key that openssl makes.
func onCurve(t testing.TB, curve ...string) []byte {
	t.Helper()
	args := append([]string{"req", "-x509", "-newkey", "ec", "-nodes", "-keyout", "-", "-subj",
		"/CN=an authority", "-days", "1"}, curve...)
	out, err := exec.Command(need.Program(t, "openssl"), args...).Output()
	require.NoError(t, err)
	for block, rest := pem.Decode(out); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes
		}
	}
	t.Fatalf("openssl printed no certificate: %s", out)
	return nil
}
