package ei_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var (
	nodeAtom = "\x77\x03a@b" // SMALL_ATOM_UTF8_EXT
	old      = ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}
)

// tagCases has every tag, with a term whose Go value is told. Those with an encode function are not
// what the runtime systems of today write: they are read into the same value as the modern form.
var tagCases = []struct {
	tag    ei.Tag
	bytes  string // without version byte
	term   ei.Term
	encode func(b []byte) ([]byte, error)
}{
	{tag: ei.TagSmallIntegerExt, bytes: "a\x05", term: ei.Int(5)},
	{tag: ei.TagIntegerExt, bytes: "b\xff\xff\xff\xff", term: ei.Int(-1)},
	{tag: ei.TagSmallBigExt, bytes: "n\x05\x01\x01\x02\x03\x04\x05", term: ei.Int(-0x0504030201)},
	{tag: ei.TagSmallBigExt, bytes: "n\x09\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", term: ei.NewBigInt(bigHex("090807060504030201"))},
	{tag: ei.TagLargeBigExt, bytes: "o\x00\x00\x01\x00\x01" + strings.Repeat("\x01", 256),
		term: ei.NewBigInt(new(big.Int).Neg(bigHex(strings.Repeat("01", 256))))},
	{tag: ei.TagNewFloatExt, bytes: "F\x3f\xf8\x00\x00\x00\x00\x00\x00", term: ei.Float(1.5)},
	{tag: ei.TagSmallAtomUTF8Ext, bytes: "w\x03\xc3\xa9x", term: ei.Atom("éx")},
	{tag: ei.TagAtomUTF8Ext, bytes: "v\x01\x00" + strings.Repeat("é", 128), term: ei.Atom(strings.Repeat("é", 128))},
	{tag: ei.TagSmallTupleExt, bytes: "h\x02a\x01h\x00", term: ei.Tuple{ei.Int(1), ei.Tuple{}}},
	{tag: ei.TagLargeTupleExt, bytes: "i\x00\x00\x01\x00" + strings.Repeat("j", 256), term: ei.Tuple(repeat(ei.List{}, 256))},
	{tag: ei.TagNilExt, bytes: "j", term: ei.List{}},
	{tag: ei.TagStringExt, bytes: "k\x00\x02\x01\xff", term: ei.String("\x01\xff")},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x02a\x01a\x02j", term: ei.List{ei.Int(1), ei.Int(2)}},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x01a\x01a\x02", term: ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Int(2)}},
	{tag: ei.TagMapExt, bytes: "t\x00\x00\x00\x02a\x02a\x03a\x01t\x00\x00\x00\x00",
		term: ei.Map{{Key: ei.Int(2), Value: ei.Int(3)}, {Key: ei.Int(1), Value: ei.Map{}}}},
	{tag: ei.TagBinaryExt, bytes: "m\x00\x00\x00\x02\x00\xff", term: ei.Binary("\x00\xff")},
	{tag: ei.TagBinaryExt, bytes: "m\x00\x00\x00\x00", term: ei.Binary{}},
	{tag: ei.TagBitBinaryExt, bytes: "M\x00\x00\x00\x02\x03\xff\xe0", term: ei.Bitstring{Data: []byte{0xff, 0xe0}, Bits: 3}},
	{tag: ei.TagNewPidExt, bytes: "X" + nodeAtom + "\x00\x00\x00\x01\x00\x00\x00\x02\xff\xff\xff\xff",
		term: ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 1<<32 - 1}},
	{tag: ei.TagNewPortExt, bytes: "Y" + nodeAtom + "\x0f\xff\xff\xff\x00\x00\x00\x02",
		term: ei.Port{Node: "a@b", ID: 1<<28 - 1, Creation: 2}},
	{tag: ei.TagV4PortExt, bytes: "x" + nodeAtom + "\xff\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02",
		term: ei.Port{Node: "a@b", ID: 0xff<<56 + 1, Creation: 2}},
	{tag: ei.TagNewerReferenceExt, bytes: "Z\x00\x02" + nodeAtom + "\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02",
		term: ei.Ref{Node: "a@b", Creation: 4, Len: 2, ID: [5]uint32{1, 2}}},
	{tag: ei.TagExportExt, bytes: "qw\x01mw\x01fa\x03", term: ei.Export{Module: "m", Function: "f", Arity: 3}},
	{
		tag: ei.TagNewFunExt,
		bytes: "p\x00\x00\x00\x3a\x01" + "0123456789abcdef" + "\x00\x00\x00\x07\x00\x00\x00\x01w\x01ma\x07b\x00\x00\x01\x00X" + nodeAtom +
			"\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03j",
		term: ei.Fun{Arity: 1, Module: "m", Index: 7, Uniq: [16]byte([]byte("0123456789abcdef")), OldIndex: 7, OldUniq: 256,
			Pid: ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}, Free: []ei.Term{ei.List{}}},
	},
	{
		tag: ei.TagRecordExt, bytes: "C\x00\x00\x00\x02\x01w\x01mw\x01rw\x01aw\x01ba\x01j",
		term: ei.Record{Module: "m", Name: "r", Exported: true,
			Fields: []ei.Field{{Name: "a", Value: ei.Int(1)}, {Name: "b", Value: ei.List{}}}},
	},

	// What is received only.
	{tag: ei.TagAtomExt, bytes: "d\x00\x02\xffx", term: ei.Atom("ÿx"),
		encode: func(b []byte) ([]byte, error) { return ei.AppendLatin1Atom(b, "ÿx") }},
	{tag: ei.TagSmallAtomExt, bytes: "s\x02\xe9x", term: ei.Atom("éx"),
		encode: func(b []byte) ([]byte, error) { return ei.AppendSmallLatin1Atom(b, "éx") }},
	{
		tag: ei.TagFloatExt, bytes: "c1.50000000000000000000e+00\x00\x00\x00\x00\x00", term: ei.Float(1.5),
		encode: func(b []byte) ([]byte, error) { return ei.AppendOldFloat(b, 1.5) },
	},
	{
		tag: ei.TagFloatExt, bytes: "c-1.79769313486231570815e+308\x00\x00\x00", term: ei.Float(-1.7976931348623157e308),
		encode: func(b []byte) ([]byte, error) { return ei.AppendOldFloat(b, -1.7976931348623157e308) },
	},
	{
		tag: ei.TagPidExt, bytes: "g" + nodeAtom + "\x00\x00\x00\x01\x00\x00\x00\x02\x03", term: old,
		encode: func(b []byte) ([]byte, error) { return ei.AppendOldPid(b, old) },
	},
	{
		tag: ei.TagPortExt, bytes: "f" + nodeAtom + "\xff\xff\xff\xff\x03", term: ei.Port{Node: "a@b", ID: 1<<32 - 1, Creation: 3},
		encode: func(b []byte) ([]byte, error) {
			return ei.AppendOldPort(b, ei.Port{Node: "a@b", ID: 1<<32 - 1, Creation: 3})
		},
	},
	{
		tag: ei.TagReferenceExt, bytes: "e" + nodeAtom + "\x00\x00\x00\x09\x03", term: ei.Ref{Node: "a@b", Creation: 3, Len: 1, ID: [5]uint32{9}},
		encode: func(b []byte) ([]byte, error) {
			return ei.AppendOldestRef(b, ei.Ref{Node: "a@b", Creation: 3, Len: 1, ID: [5]uint32{9}})
		},
	},
	{
		tag: ei.TagNewReferenceExt, bytes: "r\x00\x03" + nodeAtom + "\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03",
		term: ei.Ref{Node: "a@b", Creation: 3, Len: 3, ID: [5]uint32{1, 2, 3}},
		encode: func(b []byte) ([]byte, error) {
			return ei.AppendOldRef(b, ei.Ref{Node: "a@b", Creation: 3, Len: 3, ID: [5]uint32{1, 2, 3}})
		},
	},
	{
		tag:   ei.TagFunExt,
		bytes: "u\x00\x00\x00\x01X" + nodeAtom + "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03w\x01ma\x07b\x00\x00\x01\x00j",
		term:  ei.Fun{Arity: -1, Module: "m", OldIndex: 7, OldUniq: 256, Pid: old, Free: []ei.Term{ei.List{}}},
		encode: func(b []byte) ([]byte, error) {
			return ei.AppendTerm(b, ei.Fun{Arity: -1, Module: "m", OldIndex: 7, OldUniq: 256, Pid: old, Free: []ei.Term{ei.List{}}})
		},
	},

	// What is allowed, but never written.
	{tag: ei.TagIntegerExt, bytes: "b\x00\x00\x00\x05", term: ei.Int(5), encode: verbatim},
	{tag: ei.TagSmallBigExt, bytes: "n\x03\x00\x05\x00\x00", term: ei.Int(5), encode: verbatim},
	{tag: ei.TagSmallBigExt, bytes: "n\x00\x01", term: ei.Int(0), encode: verbatim},
	{tag: ei.TagSmallBigExt, bytes: "n\x08\x07\x00\x00\x00\x00\x00\x00\x00\x80", term: ei.Int(-1 << 63), encode: verbatim},
	{tag: ei.TagLargeBigExt, bytes: "o\x00\x00\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", term: ei.Int(1), encode: verbatim},
	{tag: ei.TagAtomUTF8Ext, bytes: "v\x00\x02ok", term: ei.Atom("ok"), encode: verbatim},
	{tag: ei.TagLargeTupleExt, bytes: "i\x00\x00\x00\x00", term: ei.Tuple{}, encode: verbatim},
	{tag: ei.TagStringExt, bytes: "k\x00\x00", term: ei.List{}, encode: verbatim},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x00j", term: ei.List{}, encode: verbatim},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x00a\x05", term: ei.Int(5), encode: verbatim},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x01a\x01l\x00\x00\x00\x01a\x02k\x00\x01\x03",
		term: ei.List{ei.Int(1), ei.Int(2), ei.Int(3)}, encode: verbatim},
	{tag: ei.TagListExt, bytes: "l\x00\x00\x00\x01a\x01l\x00\x00\x00\x01a\x02a\x03",
		term: ei.ImproperList{Elems: []ei.Term{ei.Int(1), ei.Int(2)}, Tail: ei.Int(3)}, encode: verbatim},
	{tag: ei.TagBitBinaryExt, bytes: "M\x00\x00\x00\x01\x03\xff", term: ei.Bitstring{Data: []byte{0xff}, Bits: 3}, encode: verbatim},
	{tag: ei.TagBitBinaryExt, bytes: "M\x00\x00\x00\x01\x08\xff", term: ei.Bitstring{Data: []byte{0xff}, Bits: 8}, encode: verbatim},
	{tag: ei.TagPidExt, bytes: "gd\x00\x03a@b\x00\x00\x00\x01\x00\x00\x00\x02\xff", term: old, encode: verbatim},
}

// verbatim stands for the absence of an appender.
func verbatim(b []byte) ([]byte, error) { return b, nil }

func bigHex(digits string) *big.Int {
	v, _ := new(big.Int).SetString(digits, 16)
	return v
}

func repeat(t ei.Term, n int) []ei.Term {
	ts := make([]ei.Term, n)
	for i := range ts {
		ts[i] = t
	}
	return ts
}

func TestEveryTag(t *testing.T) {
	// have tests of their own
	seen := map[ei.Tag]bool{ei.TagCompressed: true, ei.TagLocalExt: true, ei.TagAtomCacheRef: true}
	for _, tc := range tagCases {
		t.Run(tc.tag.String()+" "+tc.term.String(), func(t *testing.T) {
			seen[tc.tag] = true
			data := append([]byte{ei.VersionMagic}, tc.bytes...)
			require.Equal(t, tc.tag, ei.Tag(data[1]))
			got := decode(t, data)
			require.Equal(t, tc.term, got)

			_, pid := got.(ei.Pid)
			_, port := got.(ei.Port)
			_, ref := got.(ei.Ref)
			_, closure := got.(ei.Fun)
			_, export := got.(ei.Export)
			require.Equal(t, []bool{pid, port, ref, closure || export}, []bool{tc.tag.IsPid(), tc.tag.IsPort(), tc.tag.IsRef(), tc.tag.IsFun()})

			c := ei.NewCursor(data[1:])
			require.NoError(t, c.Skip())
			require.Zero(t, c.Len())
			for n := range len(data) {
				_, err := ei.Decode(data[:n])
				require.ErrorIs(t, err, ei.ErrTruncated, "the first %d bytes", n)
				c := ei.NewCursor(data[:n])
				if n > 0 {
					require.NoError(t, c.Version())
				}
				require.ErrorIs(t, c.Skip(), ei.ErrTruncated, "the first %d bytes", n)
			}
			c = ei.NewCursor(data[1:])
			var own ei.Term
			var err error
			switch got.(type) {
			case ei.Pid:
				own, err = c.Pid()
			case ei.Port:
				own, err = c.Port()
			case ei.Ref:
				own, err = c.Ref()
			case ei.Export:
				own, err = c.Export()
			default:
				own, err = c.Term()
			}
			require.NoError(t, err)
			require.Equal(t, got, own)
			require.Zero(t, c.Len())
			for name, m := range cursorMethods {
				c := ei.NewCursor(data[1:])
				if m.read(&c) != nil || c.Len() > 0 {
					continue
				}
				for n := 1; n < len(data); n++ {
					// the bytes that are missing are in the slice's capacity
					c := ei.NewCursor(data[1:n])
					require.ErrorIs(t, m.read(&c), ei.ErrTruncated, "%s of the first %d bytes", name, n-1)
					require.Zero(t, c.Offset(), "%s of the first %d bytes", name, n-1)
				}
			}

			if tc.encode == nil {
				again, err := ei.AppendTerm([]byte{ei.VersionMagic}, got)
				require.NoError(t, err)
				require.Equal(t, data, again)
				return
			}
			again, err := tc.encode(nil)
			require.NoError(t, err)
			if len(again) > 0 {
				require.Equal(t, tc.bytes, string(again))
			}
		})
	}
	for tag := range 256 {
		if name := ei.Tag(tag).String(); !strings.HasPrefix(name, "tag ") {
			require.True(t, seen[ei.Tag(tag)], name)
		} else {
			_, err := ei.Decode(append([]byte{ei.VersionMagic, byte(tag)}, bytes.Repeat([]byte{'j'}, 100)...))
			require.ErrorIs(t, err, ei.ErrTag)
		}
	}
}

func TestLocalExt(t *testing.T) {
	// term_to_binary({a, 1}, [local]) of OTP 29.
	data := []byte("\x83\x79\x2f\x79\xcf\xbc\x68\x02\x77\x01\x61\x61\x01")
	got := decode(t, data)
	require.Equal(t, ei.Local(data[2:]), got)
	again := marshal(t, got)
	require.Equal(t, data, again)
	require.Equal(t, "#Local<11 bytes>", got.String())
	// term_to_binary(_, [local, compressed])
	packed, err := ei.AppendCompressed([]byte{ei.VersionMagic}, data[1:], 9)
	require.NoError(t, err)
	again, err = ei.MarshalCompressed(ei.Raw(data[1:]), 9)
	require.NoError(t, err)
	require.Equal(t, data, again, "what does not get smaller")
	unpacked := decode(t, packed)
	require.Equal(t, got, unpacked)

	_, err = ei.Decode(append([]byte("\x83h\x01"), data[1:]...))
	require.ErrorIs(t, err, ei.ErrLocal)
	b, err := ei.AppendTerm([]byte{1}, ei.Tuple{ei.Int(1), got})
	require.ErrorIs(t, err, ei.ErrLocal)
	require.Equal(t, []byte{1}, b)
	_, err = ei.Append(nil, []any{got})
	require.ErrorIs(t, err, ei.ErrLocal)
}

func TestAtomCacheRef(t *testing.T) {
	data := []byte("h\x03R\x01X\x52\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03R\x02")
	c := ei.NewCursor(data)
	require.ErrorIs(t, c.Skip(), ei.ErrAtomCache)
	_, err := c.Term()
	require.ErrorIs(t, err, ei.ErrAtomCache)

	for _, table := range []*ei.AtomTable{nil, ei.NewAtomTable(0)} {
		c = ei.NewCursor(data)
		c.Atoms = table
		c.CacheRefs = []ei.Atom{"a@b", "one"}
		require.ErrorIs(t, c.Skip(), ei.ErrAtomCache, "entry 2 is missing")
		c.CacheRefs = append(c.CacheRefs, "")
		start := c
		raw, err := c.Raw()
		require.NoError(t, err)
		require.Len(t, raw, len(data))
		c = start
		got, err := c.Term()
		require.NoError(t, err)
		require.Equal(t, ei.Tuple{ei.Atom("one"), old, ei.Atom("")}, got)
		c = start
		arity, err := c.Tuple()
		require.NoError(t, err)
		require.Equal(t, 3, arity)
		require.False(t, c.AtomIs("two"))
		require.True(t, c.AtomIs("one"))
		pid, err := c.Pid()
		require.NoError(t, err)
		require.Equal(t, old, pid)
		require.True(t, c.AtomIs(""))
	}
}
