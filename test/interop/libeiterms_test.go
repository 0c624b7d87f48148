package interop

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// cTerms is a running ei_terms, which answers for the C library.
type cTerms struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startTerms(t *testing.T) *cTerms {
	t.Helper()
	cmd := exec.Command(filepath.Join(otp.Libei(t), "ei_terms"))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	})
	return &cTerms{t, in, bufio.NewReader(out)}
}

// ask gives what a function of the C library makes; false if it fails.
func (c *cTerms) ask(kind byte, question []byte) (answer string, ok bool) {
	c.t.Helper()
	_, err := c.in.Write(append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(question))), question...))
	require.NoError(c.t, err)
	head := make([]byte, 5)
	_, err = io.ReadFull(c.out, head)
	require.NoError(c.t, err)
	data := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(c.out, data)
	require.NoError(c.t, err)
	return string(data), head[0] == 0
}

func TestLibeiPrints(t *testing.T) {
	c := startTerms(t)
	long := ei.Binary(strings.Repeat("\xff", 30))
	for _, term := range []ei.Term{
		ei.Atom("a_1@B"), ei.Atom("_a"), ei.Atom("it's"), ei.Atom("é"), ei.Atom("A"), ei.Int(0), ei.Int(-3),
		ei.Int(math.MinInt64), ei.Int(math.MaxInt64),
		ei.Int(1 << 40), ei.NewBigInt(new(big.Int).SetUint64(math.MaxUint64)), ei.NewBigInt(new(big.Int).Lsh(big.NewInt(-5), 200)),
		ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 64)), ei.Float(1.5), ei.Float(math.Copysign(0, -1)), ei.Float(1e100),
		ei.Float(1e-9), ei.Float(-12345.6789),
		ei.String("a\"b\\\b\t\n\v\f\r\x01\x7f"), ei.List{}, ei.List{ei.Int(1), ei.List{}},
		ei.ImproperList{Elems: []ei.Term{ei.Int(1), ei.Int(2)}, Tail: ei.Int(3)},
		ei.Tuple{}, ei.Tuple{ei.Atom("a"), ei.Tuple{ei.Int(1)}}, ei.Map{},
		ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}, {Key: ei.String("b"), Value: ei.Tuple{}}},
		ei.Binary{}, ei.Binary{0, 255}, long, append(long, 1), ei.Bitstring{Data: []byte{0xa0}, Bits: 3},
		ei.Bitstring{Data: []byte{1, 0x80}, Bits: 1},
		ei.Bitstring{Data: append(long[:29:29], 0x80), Bits: 1}, ei.Bitstring{Data: append(long, 0x80), Bits: 1},
		ei.Bitstring{Data: []byte{1, 2}, Bits: 8},
		ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}, ei.Pid{Node: "é@b", ID: math.MaxUint32, Serial: 1 << 31, Creation: 3},
		ei.Port{Node: "a@b", ID: 1, Creation: 3}, ei.Port{Node: "a@b", ID: 1<<27 + 1, Creation: math.MaxUint32},
		ei.Ref{Node: "a@b", Creation: 1, Len: 3, ID: [5]uint32{1, math.MaxUint32, 3}},
		ei.Ref{Node: "a@b", Creation: 1, Len: 1, ID: [5]uint32{7}},
		ei.Export{Module: "lists", Function: "mäp", Arity: 2},
		ei.Fun{Module: "m", Arity: 1, Index: 5, OldIndex: 1, OldUniq: 2, Pid: ei.Pid{Node: "a@b"}},
		ei.Fun{Module: "m", Arity: 1, OldIndex: 1, OldUniq: -2, Pid: ei.Pid{Node: "a@b"}, Free: []ei.Term{ei.Int(1)}},
	} {
		data, err := ei.AppendTerm(nil, term)
		require.NoError(t, err)
		want, ok := c.ask('p', data)
		require.True(t, ok, "%v", term)
		require.Equal(t, want, string(ei.AppendPrinted(nil, term)), "%v", term)
	}
}

// Atoms in every encoding, from and to every other one, and back.
func TestLibeiAtoms(t *testing.T) {
	c := startTerms(t)
	encodings := []ei.AtomEncoding{ei.AtomASCII, ei.AtomLatin1, ei.AtomUTF8, ei.AtomLatin1 | ei.AtomUTF8, 0, 3, 5, 7}
	for _, text := range []string{"", "abc", "é", "\xe9", "日本",
		"a\xff", strings.Repeat("a", 127), strings.Repeat("a", 128), strings.Repeat("a", 255),
		strings.Repeat("a", 256), strings.Repeat("é", 127), strings.Repeat("é", 128), strings.Repeat("é", 255),
		strings.Repeat("é", 256),
		strings.Repeat("\xe9", 127), strings.Repeat("\xe9", 128), strings.Repeat("\xe9", 255), strings.Repeat("日", 85),
		strings.Repeat("日", 255),
		strings.Repeat("日", 256), strings.Repeat("😀", 255)} {
		for _, from := range encodings {
			for _, to := range encodings { // which C ignores
				if from == ei.AtomUTF8 && !isUTF8(text) { // C checks less
					continue
				}
				want, ok := c.ask('a', append([]byte{byte(from), byte(to)}, text...))
				got, err := ei.AppendAtomAs([]byte("x"), text, from)
				require.Equal(t, ok, err == nil, "%.20q from %d to %d: %v", text, from, to, err)
				require.Equal(t, "x"+want, string(got), "%.20q from %d to %d", text, from, to)
				if err != nil {
					require.ErrorIs(t, err, ei.ErrAtom)
					continue
				}
				for _, as := range encodings[:4] {
					want, ok := c.ask('A', append([]byte{byte(as)}, got[1:]...))
					cur := ei.NewCursor(got[1:])
					text, was, is, err := cur.AtomAs(as)
					require.Equal(t, ok, err == nil, "%.20q as %d: %v", text, as, err)
					if ok {
						require.Equal(t, want, string([]byte{byte(was), byte(is)})+string(text))
						require.Zero(t, cur.Len())
					} else {
						require.ErrorIs(t, err, ei.ErrAtom)
						require.Zero(t, cur.Offset())
					}
				}
			}
		}
	}
}

func isUTF8(text string) bool { return strings.ToValidUTF8(text, "") == text }

func TestLibeiIntegers(t *testing.T) {
	c := startTerms(t)
	check := func(v uint64) {
		question := binary.BigEndian.AppendUint64(nil, v)
		for _, kind := range "lL" {
			want, ok := c.ask(byte(kind), question)
			require.True(t, ok)
			require.Equal(t, want, string(ei.AppendLong(nil, int64(v))), "%d", int64(v))
		}
		for _, kind := range "uU" {
			want, ok := c.ask(byte(kind), question)
			require.True(t, ok)
			require.Equal(t, want, string(ei.AppendULong(nil, v)), "%d", v)
		}
		data := ei.AppendInt(nil, int64(v))
		want, ok := c.ask('c', data)
		cur := ei.NewCursor(data)
		got, err := cur.Byte()
		require.Equal(t, ok, err == nil, "%d: %v", int64(v), err)
		if ok {
			require.Equal(t, want, string([]byte{got}))
		}
	}
	for bits := range 64 {
		for d := -2; d <= 2; d++ {
			check(uint64(1)<<bits + uint64(d))
			check(-(uint64(1) << bits) + uint64(d))
		}
	}
}

func TestLibeiBitstrings(t *testing.T) {
	c := startTerms(t)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 12)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for offset := range 20 {
		for n := range 60 {
			question := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(offset)), uint32(n))
			want, ok := c.ask('b', append(question, data...))
			require.True(t, ok)
			bits, err := ei.BitstringOf(data, offset, n)
			require.NoError(t, err)
			got, err := ei.AppendBitstring(nil, bits.Data, bits.Bits)
			require.NoError(t, err)
			require.Equal(t, want, string(got), "%d bits from bit %d on", n, offset)
		}
	}
}

func TestLibeiTraces(t *testing.T) {
	c := startTerms(t)
	token := ei.Trace{Flags: 3, Label: ei.Int(1 << 30), Serial: -1 << 28, From: ei.Pid{Node: "a@b", ID: 1, Creation: 2}, Prev: 7}
	data, err := token.AppendTerm(nil)
	require.NoError(t, err)
	again, ok := c.ask('t', data)
	require.True(t, ok)
	require.Equal(t, again, string(data))
	cur := ei.NewCursor([]byte(again))
	var got ei.Trace
	require.NoError(t, got.ReadTerm(&cur))
	require.Equal(t, token, got)
	require.Zero(t, cur.Len())
}

func TestLibeiFormats(t *testing.T) {
	c := startTerms(t)
	pid := ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}
	for i, f := range []struct {
		format string
		args   []any
	}{
		{"{~a, ~i, [~s]}", []any{"atom", 12, "text"}},
		{"[~a, ~l , ~s]", []any{"atom", 1 << 40, "text"}}, // C makes a list without a tail of [a | b]
		{"{~a,~u,~s,~c}", []any{"atom", 1 << 30, "", 'x'}},
		{"{~a, ~i, ~s, ~c, ~f, {~p}}", []any{"atom", -300, "text", 'x', 1.5, pid}},
		{"~a", []any{"A b"}},
		{"[]", nil},
		{"{}", nil},
		{`[a, 'B c', -1, 2.5, "text", {}]`, nil},
	} {
		want, ok := c.ask('f', []byte{byte(i)})
		require.True(t, ok, f.format)
		theirs, err := ei.Raw(want).Decode()
		require.NoError(t, err)
		got, err := ei.Format(f.format, f.args...)
		require.NoError(t, err)
		require.True(t, ei.Identical(theirs, got), "%s: %v, not %v", f.format, got, theirs)
	}
}
