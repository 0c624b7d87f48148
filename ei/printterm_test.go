package ei_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The texts are those that ei_print_term of libei 5.3 prints, but for those of which the comment
// says that it fails. Tests of interop and of erl-call compare more of them with the original.
func TestAppendPrinted(t *testing.T) {
	thirty := make(ei.Binary, 30)
	for _, c := range []struct {
		t    ei.Term
		want string
	}{
		{ei.Atom("a_1@B"), `a_1@B`},
		{ei.Atom(""), `''`},
		{ei.Atom("_a"), `'_a'`},
		{ei.Atom("it's"), `'it's'`},
		{ei.Atom("é"), "'\xe9'"},
		{ei.Atom("éπ"), "'éπ'"}, // fails there
		{ei.Int(-3), `-3`},
		{ei.Float(1.5), `1.500000`},
		{ei.Float(math.Copysign(0, -1)), `-0.000000`},
		{parsed(t, "18446744073709551615"), `18446744073709551615`},
		{parsed(t, "-18446744073709551616"), `-16#10000000000000000`},
		{ei.String("a\"b\\\b\t\n\v\f\r\x01\x7f"), "\"a\"b\\\\b\\t\\n\\v\\f\\r\\x1\x7f\""},
		{ei.String("\xe9"), `"\xe9"`}, // \xffffffe9 there
		{ei.List{}, `[]`},
		{ei.List{ei.Int(1), ei.List{}}, `[1, []]`},
		{ei.ImproperList{Elems: []ei.Term{ei.Int(1), ei.Int(2)}, Tail: ei.Int(3)}, `[1, 2 | 3]`},
		{ei.Tuple{}, `{}`},
		{ei.Tuple{ei.Atom("a"), ei.Tuple{ei.Int(1)}}, `{a, {1}}`},
		{parsed(t, `#{a => 1, "b" => {}}`), `#{a => 1, "b" => {}}`},
		{ei.Binary{}, `#Bin<>`},
		{ei.Binary{0, 255}, `#Bin<0,255>`},
		{thirty, `#Bin<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>`},
		{append(thirty, 1), `#Bin<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,...>`},
		{ei.Bitstring{Data: []byte{0xa0}, Bits: 3}, `#Bits<5:3>`},
		{ei.Bitstring{Data: []byte{1, 0x80}, Bits: 1}, `#Bits<1,1:1>`},
		{ei.Bitstring{Data: append(thirty, 0x80), Bits: 1}, `#Bits<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,...>`},
		{ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}, `<a@b.1.2>`},
		{ei.Port{Node: "a@b", ID: 1, Creation: 3}, `#Port<1.3>`},
		{ei.Ref{Node: "a@b", Len: 3, ID: [5]uint32{1, 2, 3}}, `#Ref<1.2.3>`},
		{ei.Export{Module: "lists", Function: "map", Arity: 2}, `fun lists:map/2`},
		{ei.Fun{Module: "m", Index: 5, OldIndex: 1, OldUniq: 2}, `#Fun{m.5.2}`},
		{ei.Fun{Module: "m", Arity: -1, OldIndex: 1, OldUniq: 2}, `#Fun{m.1.2}`},
		{ei.ImproperList{Tail: ei.Int(1)}, `1`},
		{ei.Raw("l\x00\x00\x00\x01a\x01j"), `[1]`},
		{ei.Pid{Node: "é@b", ID: 1 << 31}, "<é@b.-2147483648.0>"},
		{ei.Record{Module: "m", Name: "r"}, `#m:r{}`}, // fails there
	} {
		require.Equal(t, c.want, string(ei.AppendPrinted(nil, c.t)), "%#v", c.t)
	}
}

// A result may be deeper than a goroutine's stack can follow.
func TestAppendPrintedDeep(t *testing.T) {
	var v, mixed ei.Term = ei.Int(1), ei.Int(1)
	for range deep {
		v = ei.Tuple{ei.Int(2), v, ei.Int(3)}
	}
	text := string(ei.AppendPrinted(nil, v))
	require.True(t, text == strings.Repeat("{2, ", deep)+"1"+strings.Repeat(", 3}", deep))
	for range 2 {
		mixed = ei.List{ei.Map{{Key: mixed, Value: ei.ImproperList{Elems: []ei.Term{mixed}, Tail: mixed}}}}
	}
	const inner = "[#{1 => [1 | 1]}]"
	require.Equal(t, "[#{"+inner+" => ["+inner+" | "+inner+"]}]", string(ei.AppendPrinted(nil, mixed)))
}
