package ei_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Tests of interop compare all of these with the C library.

func TestAtomAs(t *testing.T) {
	for _, c := range []struct {
		text string
		from ei.AtomEncoding
		want string
	}{
		{"abc", ei.AtomASCII, "w\x03abc"},
		{"\xe9", ei.AtomLatin1, "w\x02é"},
		{strings.Repeat("a", 128), ei.AtomLatin1, "v\x00\x80" + strings.Repeat("a", 128)},
		{strings.Repeat("é", 128), ei.AtomUTF8, "v\x01\x00" + strings.Repeat("é", 128)},
		{"é", ei.AtomASCII, ""},
		{"\xe9", ei.AtomUTF8, ""},
		{strings.Repeat("\xe9", 256), ei.AtomLatin1, ""},
		{"a", 0, ""},
		{"a", ei.AtomLatin1 | ei.AtomUTF8, ""},
	} {
		got, err := ei.AppendAtomAs([]byte("x"), c.text, c.from)
		require.Equal(t, "x"+c.want, string(got))
		if c.want == "" {
			require.ErrorIs(t, err, ei.ErrAtom)
		} else {
			require.NoError(t, err)
		}
	}
	for _, c := range []struct {
		data          string
		want, was, is ei.AtomEncoding
		text          string
	}{
		{"d\x00\x01\xe9", ei.AtomUTF8, ei.AtomLatin1, ei.AtomUTF8, "é"},
		{"s\x01\xe9", ei.AtomLatin1 | ei.AtomUTF8, ei.AtomLatin1, ei.AtomLatin1, "\xe9"},
		{"w\x02é", ei.AtomLatin1, ei.AtomUTF8, ei.AtomLatin1, "\xe9"},
		{"w\x01a", ei.AtomLatin1, ei.AtomUTF8, ei.AtomASCII, "a"},
	} {
		cur := ei.NewCursor([]byte(c.data))
		text, was, is, err := cur.AtomAs(c.want)
		require.NoError(t, err)
		require.Equal(t, c.text, string(text))
		require.Equal(t, []ei.AtomEncoding{c.was, c.is}, []ei.AtomEncoding{was, is})
		require.Zero(t, cur.Len())
	}
	for data, err := range map[string]error{"w\x02é": ei.ErrAtom, "a\x01": ei.ErrType, "": ei.ErrTruncated,
		"w\x05a": ei.ErrTruncated} {
		cur := ei.NewCursor([]byte(data))
		_, _, _, got := cur.AtomAs(ei.AtomASCII)
		require.ErrorIs(t, got, err)
		require.Zero(t, cur.Offset())
	}
}

func TestByte(t *testing.T) {
	for data, want := range map[string]any{
		"a\xff": byte(255), "b\x00\x00\x00\x07": byte(7), "n\x01\x00\x09": byte(9), "b\x00\x00\x01\x00": ei.ErrRange,
		"b\xff\xff\xff\xff":  ei.ErrRange,
		"n\x09\x00123456789": ei.ErrRange, "w\x01a": ei.ErrType, "a": ei.ErrTruncated,
	} {
		cur := ei.NewCursor([]byte(data))
		got, err := cur.Byte()
		if wrong, ok := want.(error); ok {
			require.ErrorIs(t, err, wrong, "%x", data)
			require.Zero(t, cur.Offset())
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Zero(t, cur.Len())
	}
}

func TestTrace(t *testing.T) {
	for _, label := range []ei.Term{ei.Int(1), ei.Int(math.MinInt64), ei.Tuple{ei.Atom("any"), ei.Binary("term")}} {
		token := ei.Trace{Flags: 1, Label: label, Serial: 1 << 28, From: ei.Pid{Node: "a@b", ID: 1, Creation: 2}, Prev: -1}
		data, err := token.AppendTerm(nil)
		require.NoError(t, err)
		cur := ei.NewCursor(data)
		var got ei.Trace
		require.NoError(t, got.ReadTerm(&cur))
		require.Equal(t, token, got)
		for n := range data {
			cur := ei.NewCursor(data[:n])
			require.ErrorIs(t, new(ei.Trace).ReadTerm(&cur), ei.ErrTruncated)
			require.Zero(t, cur.Offset())
		}
	}
	for _, bad := range []string{"{}", "{1,2,3,4,5}", "{1,2,x,#Pid<a@b.1.2.3>,5}", "{1,2,3,#Pid<a@b.1.2.3>,5,6}", "x"} {
		data := appended(t, parsed(t, bad))
		cur := ei.NewCursor(data)
		require.ErrorIs(t, new(ei.Trace).ReadTerm(&cur), ei.ErrType, bad)
		require.Zero(t, cur.Offset())
	}
	for _, bad := range []ei.Trace{{Label: ei.Atom("\xff")}, {Label: ei.Int(1), From: ei.Pid{Node: "\xff"}}} {
		got, err := bad.AppendTerm([]byte("x"))
		require.ErrorIs(t, err, ei.ErrAtom)
		require.Equal(t, "x", string(got))
	}
}

func TestBitstringOf(t *testing.T) {
	data := []byte{0b1010_1010, 0b1100_1100, 0b1111_0000}
	for _, c := range []struct {
		offset, n int
		want      string
	}{{0, 0, "<<>>"}, {0, 3, "<<5:3>>"}, {1, 3, "<<2:3>>"}, {7, 2, "<<1:2>>"}, {8, 8, "<<204>>"}, {4, 16, "<<172,207>>"},
		{24, 0, "<<>>"}, {5, 19, "<<89,158,0:3>>"}} {
		got, err := ei.BitstringOf(data, c.offset, c.n)
		require.NoError(t, err)
		require.Equal(t, c.n, got.BitLen())
		require.True(t, ei.Identical(parsed(t, c.want), got), "%v", got)
	}
	for _, c := range [][2]int{{-1, 1}, {0, -1}, {0, 25}, {24, 1}, {25, 0}, {1, math.MaxInt}, {math.MaxInt, 1}} {
		_, err := ei.BitstringOf(data, c[0], c[1])
		require.ErrorIs(t, err, ei.ErrRange)
	}
	require.Equal(t, []byte{0b1010_1010, 0b1100_1100, 0b1111_0000}, data)
}

func TestMakers(t *testing.T) {
	type price float32
	got := ei.MapOf("total", 4.5, ei.Binary("k"), "v",
		ei.Int(1), []ei.Term{ei.Atom("x")}, "b", []byte{1}, "f", false, "t", true, "r", float32(2),
		"i", uint8(7), "u", uint64(math.MaxUint64), "n", big.NewInt(9), "m", ei.MapOf())
	require.True(t, ei.Identical(parsed(t, `#{total => 4.5,<<"k">> => <<"v">>,1 => [x],b => <<1>>,f => false,t => true,r => 2.0,i => 7,
		u => 18446744073709551615,n => 9,m => #{}}`), got), "%v", got)
	require.Equal(t, ei.Tuple{ei.Atom("ok")}, ei.Tagged("ok"))
	require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Binary("x"), ei.Tuple{ei.Atom("a")}}, ei.Tagged("ok", "x", ei.Tagged("a")))
	odd := strings.Fields("a")
	for _, wrong := range []func(){
		func() { ei.MapOf(anys(odd)...) }, func() { ei.MapOf("a", nil) }, func() { ei.MapOf(nil, 1) }, func() { ei.Tagged("a", struct{}{}) },
		func() { ei.Tagged("a", (*big.Int)(nil)) }, func() { ei.Tagged("a", price(1)) },
	} {
		require.Panics(t, wrong)
	}
	_, err := ei.Marshal(ei.MapOf("a", 1, ei.Atom("a"), 2))
	require.ErrorIs(t, err, ei.ErrDuplicate)
}

func anys(texts []string) (vs []any) {
	for _, s := range texts {
		vs = append(vs, s)
	}
	return vs
}

func ExampleMapOf() {
	fmt.Println(ei.Tagged("ok", ei.MapOf("total", 4.5, "sku", "A1")))
	// Output: {ok,#{total => 4.5,sku => <<"A1">>}}
}

func ExampleAppendPrinted() {
	fmt.Printf("%s\n", ei.AppendPrinted(nil, ei.Tuple{ei.Atom("ok"), ei.Float(1.5), ei.Binary("hi")}))
	// Output: {ok, 1.500000, #Bin<104,105>}
}

func ExampleAppendJSON() {
	term, _ := ei.Parse(`{ok,#{sku => <<"A1">>,price => 1.5,next => undefined}}`)
	text, err := ei.AppendJSON(nil, term)
	fmt.Println(string(text), err)
	// Output: ["ok",{"sku":"A1","price":1.5,"next":null}] <nil>
}
