package tlstransport

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A client that encrypts its hello connects, whether or not its configuration asks for TLS 1.3,
// which this requires.
func TestEncryptedClientHello(t *testing.T) {
	key := expect.NoError(ecdh.X25519().GenerateKey(rand.Reader)).In(t)
	config := encryptedHelloConfig(t, key.PublicKey().Bytes())
	var list cryptobyte.Builder
	list.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(config) })
	for _, least := range []uint16{tls.VersionTLS13, 0} {
		cfg := newAuthority(t, "an authority").mutual(t)
		cfg.MinVersion, cfg.ServerName = least, "localhost"
		cfg.EncryptedClientHelloKeys = []tls.EncryptedClientHelloKey{{Config: config, PrivateKey: key.Bytes()}}
		cfg.EncryptedClientHelloConfigList = list.BytesOrPanic()
		w := newWorkbench(t, cfg, Options{})
		w.talking()
	}
}

// encryptedHelloConfig is an ECHConfig: RFC 9849, section 4.
func encryptedHelloConfig(t testing.TB, public []byte) []byte {
	t.Helper()
	const version, x25519, hkdfSHA256, aes128GCM = 0xfe0d, 0x20, 1, 1
	var b cryptobyte.Builder
	b.AddUint16(version)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // its number
		b.AddUint16(x25519)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(public) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(hkdfSHA256)
			b.AddUint16(aes128GCM)
		})
		b.AddUint8(32) // the longest name
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("public.example")) })
		b.AddUint16(0) // no extensions
	})
	return expect.NoError(b.Bytes()).In(t)
}
