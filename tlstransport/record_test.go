package tlstransport

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	return expect.NoError(hex.DecodeString(strings.ReplaceAll(text, " ", ""))).In(t)
}

// The application data of RFC 8448, section 3: the records that both sides send with the traffic
// secrets given there.
func TestRFC8448(t *testing.T) {
	payload := make([]byte, 50)
	for i := range payload {
		payload[i] = byte(i)
	}
	for _, tt := range []struct {
		name, secret, key, iv string
		seq                   uint64
		data, alert           string
	}{
		{
			"client", "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
			"17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9", 0,
			"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 " +
				"4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
			"17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3",
		},
		{
			"server", "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
			"9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984", 1,
			"17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 " +
				"2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
			"17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			su := suiteOf(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
			key, iv, err := su.traffic(unhex(t, tt.secret))
			require.NoError(t, err)
			require.Equal(t, unhex(t, tt.key), key)
			require.Equal(t, unhex(t, tt.iv), iv)
			out := expect.NoError(newHalf13(su, unhex(t, tt.secret), tt.seq)).In(t)
			data := expect.NoError(out.seal(nil, typeData, payload[:7], payload[7:])).In(t)
			require.Equal(t, unhex(t, tt.data), data)
			alert := expect.NoError(out.seal(nil, typeAlert, []byte{1, 0})).In(t)
			require.Equal(t, unhex(t, tt.alert), alert)
			in := expect.NoError(newHalf13(su, unhex(t, tt.secret), tt.seq)).In(t)
			typ, plain, err := in.open(nil, data)
			require.NoError(t, err)
			require.Equal(t, typeData, typ)
			require.Equal(t, payload, plain)
			typ, plain, err = in.open(make([]byte, 100), alert)
			require.NoError(t, err)
			require.Equal(t, typeAlert, typ)
			require.Equal(t, []byte{1, 0}, plain)
		})
	}
}

// suites are all suites whose records this package can protect.
var suites = []struct{ version, id uint16 }{
	{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256}, {tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384}, {tls.VersionTLS13,
		tls.TLS_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
}

// twoHalves are both ends of one direction.
func twoHalves(t testing.TB, version, id uint16, seq uint64) (out, in *half) {
	t.Helper()
	su := suiteOf(version, id)
	require.NotNil(t, su)
	var err error
	for _, h := range []**half{&out, &in} {
		if version == tls.VersionTLS13 {
			*h, err = newHalf13(su, bytes.Repeat([]byte{1}, su.hash().Size()), seq)
		} else {
			*h, err = newHalf12(su, bytes.Repeat([]byte{2}, su.key), bytes.Repeat([]byte{3}, su.fixedIV()), seq)
		}
		require.NoError(t, err)
	}
	return out, in
}

// Sealed records can be opened again, whatever their size and pieces, across key updates; records
// that were changed cannot.
func TestSealOpen(t *testing.T) {
	for _, s := range suites {
		t.Run(suiteOf(s.version, s.id).String(), func(t *testing.T) {
			out, in := twoHalves(t, s.version, s.id, rand.Uint64())
			rapid.Check(t, func(t *rapid.T) {
				plain := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "plain")
				if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
					plain = bytes.Repeat([]byte{7}, rapid.IntRange(maxPlaintext-2, maxPlaintext).Draw(t, "size"))
				}
				typ := rapid.SampledFrom([]byte{typeAlert, typeHandshake, typeData}).Draw(t, "type")
				cut := rapid.IntRange(0, len(plain)).Draw(t, "cut")
				if s.version == tls.VersionTLS13 && rapid.IntRange(0, 5).Draw(t, "update") == 0 {
					require.NoError(t, out.update())
					require.NoError(t, in.update())
				}
				at := rapid.IntRange(recordHeader, len(plain)+out.extent-1).Draw(t, "at")
				bit := rapid.IntRange(0, 7).Draw(t, "bit")
				p := make([]byte, rapid.IntRange(0, len(plain)+20).Draw(t, "room"))
				// From here on nothing is drawn: a run that is given up would leave the two halves
				// out of step.
				before := []byte("what is in front stays")
				b := expect.NoError(out.seal(bytes.Clone(before), typ, plain[:cut], plain[cut:])).In(t)
				require.Equal(t, before, b[:len(before)])
				record := b[len(before):]
				require.Len(t, record, len(plain)+out.extent)

				bad := bytes.Clone(record)
				bad[at] ^= 1 << bit
				require.ErrorIs(t, expect.Err2(in.open(nil, bad)), alertBadRecordMAC)
				gotType, got, err := in.open(p, record)
				require.NoError(t, err)
				require.Equal(t, typ, gotType)
				require.True(t, bytes.Equal(plain, got))
			})
		})
	}
}

// The last sequence number is never used, and no number is used twice.
func TestLastSequenceNumberIsNotUsed(t *testing.T) {
	for _, s := range suites {
		out, in := twoHalves(t, s.version, s.id, 1<<64-2)
		b := expect.NoError(out.seal(nil, typeData, []byte("the last one"))).In(t)
		require.NoError(t, expect.Err2(in.open(nil, b)))
		require.ErrorIs(t, expect.Err(out.seal(nil, typeData, []byte("too many"))), errExhausted)
		require.ErrorIs(t, expect.Err2(in.open(nil, b)), errExhausted)
	}
}

// A padded record of TLS 1.3, and those that its receiver must refuse.
func TestOpen13Refuses(t *testing.T) {
	out, in := twoHalves(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, 0)
	raw := func(inner []byte) []byte { // seals inner with any type and padding, unlike seal
		h := []byte{typeData, 3, 3, byte((len(inner) + 16) >> 8), byte(len(inner) + 16)}
		out.fill(nil)
		b := out.aead.Seal(h, out.nonce[:], inner, h)
		out.seq++
		return b
	}
	typ, plain, err := in.open(nil, raw([]byte("hello\x17\x00\x00\x00")))
	require.NoError(t, err)
	require.Equal(t, typeData, typ)
	require.Equal(t, "hello", string(plain))
	for _, tt := range []struct {
		name   string
		record []byte
		alert  Alert
	}{
		{"padding only", raw(make([]byte, 20)), alertUnexpectedMessage},
		{"too long", raw(append(make([]byte, maxPlaintext+1), typeData)), alertRecordOverflow},
		{"not protected", []byte{typeHandshake, 3, 3, 0, 1, 0}, alertUnexpectedMessage},
		{"change of cipher", []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1}, alertUnexpectedMessage},
		{"shorter than a tag", []byte{typeData, 3, 3, 0, 3, 1, 2, 3}, alertBadRecordMAC},
	} {
		seq := in.seq
		require.ErrorIs(t, expect.Err2(in.open(nil, tt.record)), tt.alert, tt.name)
		require.Equal(t, seq, in.seq)
		in.seq = seq + 1 // sealing the record has used the number
		if tt.alert == alertUnexpectedMessage && tt.name != "padding only" || tt.alert == alertBadRecordMAC {
			in.seq = seq
		}
	}
}

func TestSealAndOpenAllocNothing(t *testing.T) {
	for _, s := range suites {
		out, in := twoHalves(t, s.version, s.id, 0)
		plain, dst, p := make([]byte, 1000), make([]byte, 0, 2000), make([]byte, 2000)
		n := testing.AllocsPerRun(100, func() {
			b, err := out.seal(dst, typeData, plain[:500], plain[500:])
			if err == nil {
				_, _, err = in.open(p, b)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		require.Zero(t, n, suiteOf(s.version, s.id))
	}
}

func FuzzOpen(f *testing.F) {
	for _, s := range suites {
		out, _ := twoHalves(f, s.version, s.id, 1)
		b := expect.NoError(out.seal(nil, typeData, []byte("some plaintext"))).In(f)
		f.Add(b)
	}
	f.Add([]byte{typeData, 3, 3, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < recordHeader {
			return
		}
		for _, s := range suites {
			_, in := twoHalves(t, s.version, s.id, 1)
			_, plain, err := in.open(make([]byte, len(b)%50), bytes.Clone(b))
			if err == nil && len(plain) > len(b) {
				t.Fatal("more than there was")
			}
		}
	})
}
