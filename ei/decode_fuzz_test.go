package ei_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// seeds gives the encoded terms of all tables, good and bad.
func seeds(f *testing.F) (data [][]byte) {
	vs, _ := readVectors(f)
	for _, v := range vs {
		data = append(data, v.data)
	}
	for _, tc := range tagCases {
		data = append(data, append([]byte{ei.VersionMagic}, tc.bytes...))
	}
	for _, tc := range malformed {
		data = append(data, []byte(tc.data))
	}
	for _, v := range vs[:10] {
		packed, err := ei.AppendCompressed(ei.AppendVersion(nil), v.data[1:], -1)
		require.NoError(f, err)
		data = append(data, packed)
	}
	return data
}

// FuzzDecode checks that Decode, Skip and the cursor's methods agree on what a term is and where it
// ends, and that what was decoded can be encoded, printed, compared and decoded again.
func FuzzDecode(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1 {
			checkCursor(t, data[1:])
		}
		term, n, err := ei.DecodeOptions{}.DecodePrefix(data)
		aliased, n2, err2 := ei.DecodeOptions{Alias: true, Atoms: ei.NewAtomTable(4)}.DecodePrefix(data)
		require.Equal(t, err, err2)
		require.Equal(t, n, n2)
		c := ei.NewCursor(data)
		if c.Version() != nil {
			require.Error(t, err)
			return
		}
		tag, _ := c.Peek()
		special := tag == ei.TagCompressed || tag == ei.TagLocalExt
		if err != nil {
			if !special && c.Skip() == nil { // well-formed, but refused
				require.True(t, errors.Is(err, ei.ErrLimit) || errors.Is(err, ei.ErrDuplicate), "%v", err)
			}
			return
		}
		require.Equal(t, term, aliased)
		if strictly, err := strict.Decode(data[:n]); err != nil {
			require.ErrorIs(t, err, ei.ErrRefused)
		} else {
			require.Equal(t, term, strictly)
		}
		if !special {
			require.NoError(t, c.Skip())
			require.Equal(t, n, c.Offset())
		}

		again := marshal(t, term)
		back := decode(t, again)
		third := marshal(t, back)
		require.True(t, bytes.Equal(again, third), "%x, %x", again, third)
		require.True(t, ei.Identical(term, back), "%v, %v", term, back)
		if !special {
			text := term.String()
			require.LessOrEqual(t, len(text), 1000+16*n*len("'\\x{10ffff}'"))
			if !strings.Contains(text, "#Fun<") { // the text of a closure is not read back
				read := parsed(t, text)
				require.Equal(t, text, read.String())
				// the flags of records are not in the text
				records := bytes.IndexByte(again, byte(ei.TagRecordExt)) > 0
				require.True(t, records || ei.Identical(term, read), "%q", text)
			}
		}
	})
}

// FuzzParse checks that Parse reads a term whose text is read back to the same term.
func FuzzParse(f *testing.F) {
	for _, tc := range texts {
		f.Add(tc.text)
	}
	for _, tc := range badTexts {
		f.Add(tc.text)
	}
	vs, _ := readVectors(f)
	for _, v := range vs {
		f.Add(v.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		term, err := ei.Parse(text)
		if err != nil {
			var located *ei.TextError
			require.ErrorAs(t, err, &located)
			require.True(t, located.Offset >= 0 && located.Offset <= len(text))
			return
		}
		out := term.String()
		again := parsed(t, out)
		require.True(t, ei.Identical(term, again), "%q", out)
		data := marshal(t, term)
		require.LessOrEqual(t, len(data), 1<<17+32*len(text))
		back := decode(t, data)
		require.True(t, ei.Identical(term, back), "%q", out)
	})
}

// FuzzDecompress checks that no compressed term gives more bytes than the limit, or another number
// than announced.
func FuzzDecompress(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
		if len(data) > 0 {
			packed, err := ei.AppendCompressed(ei.AppendVersion(nil), data[1:], 9)
			require.NoError(f, err)
			f.Add(packed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		plain, err := ei.Decompress(data, limit)
		if err != nil {
			require.ErrorAs(t, err, new(*ei.SyntaxError))
			return
		}
		require.LessOrEqual(t, len(plain), 1+limit)
		require.EqualValues(t, ei.VersionMagic, plain[0])
		size := int(data[2])<<24 | int(data[3])<<16 | int(data[4])<<8 | int(data[5])
		require.Equal(t, size, len(plain)-1)
	})
}
