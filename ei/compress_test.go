package ei_test

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// packed makes a compressed term that announces size bytes and holds plain.
func packed(t *testing.T, size uint32, plain []byte) []byte {
	t.Helper()
	out := bytes.NewBuffer([]byte{ei.VersionMagic, byte(ei.TagCompressed), byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	z := zlib.NewWriter(out)
	_, err := z.Write(plain)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

func TestCompressed(t *testing.T) {
	term := ei.List(repeat(ei.Tuple{ei.Atom("some_atom"), ei.Binary("some text")}, 1000))
	plain := marshal(t, term)
	for level := -1; level <= 9; level++ {
		small, err := ei.MarshalCompressed(term, level)
		require.NoError(t, err)
		if level != 0 {
			require.Less(t, len(small), len(plain)/10)
			require.Equal(t, []byte{ei.VersionMagic, byte(ei.TagCompressed)}, small[:2])
		} else {
			require.Equal(t, plain, small)
		}
		got := decode(t, small)
		require.Equal(t, term, got)
	}
	small, err := ei.MarshalCompressed(ei.Int(1), 9)
	require.NoError(t, err)
	require.Equal(t, "\x83a\x01", string(small), "not worth it")
	_, err = ei.MarshalCompressed(ei.Int(1), 99)
	require.Error(t, err)
	_, err = ei.MarshalCompressed(nil, 9)
	require.Error(t, err)
}

func TestCompressedLimits(t *testing.T) {
	zeros := make([]byte, 17<<20)
	copy(zeros, "m\x01\x0f\xff\xfb")
	bomb := packed(t, uint32(len(zeros)), zeros)
	require.Less(t, len(bomb), 100_000)
	_, err := ei.Decode(bomb)
	require.ErrorIs(t, err, ei.ErrLimit, "16 MiB unless told otherwise")
	_, err = ei.Decompress(bomb, 0)
	require.ErrorIs(t, err, ei.ErrLimit)
	_, err = ei.Decompress(bomb, len(zeros)-1)
	require.ErrorIs(t, err, ei.ErrLimit)
	plain, err := ei.Decompress(bomb, len(zeros))
	require.NoError(t, err)
	require.Len(t, plain, len(zeros)+1)
	plain, err = ei.Decompress(bomb, -1)
	require.NoError(t, err)
	require.Len(t, plain, len(zeros)+1)
	got, err := ei.DecodeOptions{Limits: ei.Limits{Decompressed: -1}}.Decode(bomb)
	require.NoError(t, err)
	require.Len(t, got, len(zeros)-5)

	// A term that lies about its size is read no further than it announces, and takes no memory
	// that it does not fill.
	lies := packed(t, 1000, zeros)
	require.Less(t, allocated(func() { _, err = ei.Decompress(lies, -1) }), 200_000)
	require.ErrorIs(t, err, ei.ErrCompressed)
	lies = packed(t, 1<<31-1, []byte("j"))
	require.Less(t, allocated(func() { _, err = ei.Decompress(lies, -1) }), 200_000)
	require.ErrorIs(t, err, ei.ErrCompressed)
	_, err = ei.Decompress(packed(t, 0, nil), 0)
	require.NoError(t, err)

	// A limit on the term's own length counts inside as well.
	_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 5}}.Decode(packed(t, 6, []byte("m\x00\x00\x00\x01a")))
	require.ErrorIs(t, err, ei.ErrLimit)
}

func TestCompressedMalformed(t *testing.T) {
	good := packed(t, 2, []byte("a\x05"))
	got := decode(t, good)
	require.Equal(t, ei.Int(5), got)
	for n := range good {
		_, err := ei.Decode(good[:n])
		require.Error(t, err, "the first %d bytes", n)
		if n >= 2 {
			_, err = ei.Decompress(good[:n], 0)
			require.Error(t, err, "the first %d bytes", n)
		}
	}
	for name, data := range map[string][]byte{
		"checksum":           append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"no term":            packed(t, 1, []byte{0}),
		"two terms":          packed(t, 2, []byte("jj")),
		"nothing":            packed(t, 0, nil),
		"compressed again":   packed(t, uint32(len(good)-1), good[1:]),
		"with version":       packed(t, 3, []byte("\x83a\x05")),
		"local in a tuple":   packed(t, 5, []byte("h\x01yab")),
		"larger than it is":  packed(t, 3, []byte("a\x05")),
		"smaller than it is": packed(t, 1, []byte("a\x05")),
		"trailing":           append(bytes.Clone(good), 0),
	} {
		_, err := ei.Decode(data)
		require.ErrorAs(t, err, new(*ei.SyntaxError), name)
	}
	_, err := ei.Decompress([]byte("\x83a\x05"), 0)
	require.ErrorIs(t, err, ei.ErrType)
	_, err = ei.Decompress([]byte("a\x05"), 0)
	require.ErrorIs(t, err, ei.ErrVersion)
	_, err = ei.Decompress(append(good, 0), 0)
	require.ErrorIs(t, err, ei.ErrTrailing)
	c := ei.NewCursor(good)
	require.NoError(t, c.Version())
	require.ErrorIs(t, c.Skip(), ei.ErrCompressed)
	_, err = c.Int()
	require.ErrorIs(t, err, ei.ErrCompressed)
}

func TestCompressedWithErl(t *testing.T) {
	erl := needErl(t)[0]
	term := ei.List(repeat(ei.Tuple{ei.Atom("some_atom"), ei.Binary("some text")}, 100))
	plain := marshal(t, term)
	small, err := ei.MarshalCompressed(term, 9)
	require.NoError(t, err)
	answers := askErl(t, erl, []string{
		"back " + hex.EncodeToString(small),
		"expr term_to_binary(binary_to_term(<<16#" + hex.EncodeToString(plain) + ":" + ei.Int(8*len(plain)).String() + ">>), [compressed])",
	})
	require.Equal(t, hex.EncodeToString(plain), answers[0])
	theirs, err := hex.DecodeString(answers[1])
	require.NoError(t, err)
	wrapped, err := ei.Decode(theirs) // the answer to an expression is its value encoded
	require.NoError(t, err)
	got := decode(t, wrapped.(ei.Binary))
	require.True(t, ei.Identical(term, got))
}

// A limit on bytes applies to the plain form, also for a LOCAL_EXT.
func TestCompressedLocalLimit(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		b, err := ei.Marshal(ei.Local(strings.Repeat("a", 1000)))
		if compressed {
			b, err = ei.MarshalCompressed(ei.Local(strings.Repeat("a", 1000)), 9)
		}
		require.NoError(t, err)
		_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 100}}.Decode(b)
		require.ErrorIs(t, err, ei.ErrLimit)
		_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 1002}}.Decode(b)
		require.NoError(t, err)
	}
}

// Within a compressed term an offset counts in the plain form.
func TestCompressedOffset(t *testing.T) {
	b, err := ei.AppendCompressed([]byte{ei.VersionMagic}, ei.Raw("h\x02a\x01\xff"), 9)
	require.NoError(t, err)
	var at *ei.SyntaxError
	_, err = ei.Decode(b)
	require.ErrorAs(t, err, &at)
	plain, err := ei.Decompress(b, 0)
	require.NoError(t, err)
	require.EqualValues(t, 0xff, plain[at.Offset])
}
