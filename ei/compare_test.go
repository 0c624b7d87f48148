package ei_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
)

// orderedTerms are in ascending order; those on one line are equal (==), and not the same (=:=)
// when they are of different types.
var orderedTerms = [][]ei.Term{
	{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(-1), 3000))},
	{ei.Float(-math.MaxFloat64)},
	{ei.NewBigInt(new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)))},
	{ei.Int(math.MinInt64), ei.Float(math.MinInt64)},
	{ei.Int(-2)},
	{ei.Float(-1.5)},
	{ei.Int(-1), ei.Float(-1)},
	{ei.Int(0), ei.Float(0), negativeZero, ei.BigInt{}}, // the zero BigInt is 0
	{ei.Float(0.5)},
	{ei.Int(1), ei.Float(1)},
	{ei.Int(1 << 53), ei.Float(1 << 53)},
	{ei.Int(1<<53 + 1)},
	{ei.Float(1<<53 + 2)},
	{ei.Int(math.MaxInt64)},
	{ei.Float(math.MaxInt64), ei.NewBigInt(new(big.Int).SetUint64(1 << 63))},
	{ei.NewBigInt(new(big.Int).SetUint64(1<<63 + 1))},
	{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 64)), ei.Float(1 << 64)},
	{ei.Float(math.MaxFloat64)},
	{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 1024))},
	{ei.Atom("")},
	{ei.Atom("a")},
	{ei.Atom("aa")},
	{ei.Atom("b")},
	{ei.Atom("é")},
	{ei.Atom("日")},
	{ei.Atom("😀")},
	{ei.Ref{Node: "a@b", Creation: 1, Len: 3, ID: [5]uint32{9, 9, 0}}},
	{ei.Ref{Node: "a@b", Creation: 1, Len: 3, ID: [5]uint32{0, 0, 1}}},
	{ei.Ref{Node: "a@b", Creation: 1, Len: 3, ID: [5]uint32{1, 0, 1}}},
	{ei.Ref{Node: "a@b", Creation: 1, Len: 5, ID: [5]uint32{0, 0, 0, 0, 1}}},
	{ei.Ref{Node: "a@b", Creation: 2, Len: 1, ID: [5]uint32{0}}},
	{ei.Ref{Node: "b@b", Creation: 1, Len: 1, ID: [5]uint32{0}}},
	{ei.Fun{Module: "m", Index: 2, OldIndex: 2, Pid: old}},
	{ei.Fun{Module: "n", Index: 1, OldIndex: 1, Pid: old}},
	{ei.Fun{Module: "n", Index: 1, OldIndex: 1, Pid: old, Free: []ei.Term{ei.Int(1)}}},
	{ei.Fun{Module: "n", Index: 1, OldIndex: 1, Pid: old, Free: []ei.Term{ei.Int(2)}}},
	{ei.Export{Module: "a", Function: "f", Arity: 9}},
	{ei.Export{Module: "a", Function: "g", Arity: 0}},
	{ei.Export{Module: "a", Function: "g", Arity: 1}},
	{ei.Port{Node: "a@b", ID: 9, Creation: 1}},
	{ei.Port{Node: "a@b", ID: 8, Creation: 2}},
	{ei.Port{Node: "b@b", ID: 7, Creation: 1}},
	{ei.Port{Node: "b@b", ID: 1 << 40, Creation: 1}},
	{ei.Pid{Node: "b@b", ID: 1, Serial: 0, Creation: 1}},
	{ei.Pid{Node: "a@b", ID: 2, Serial: 0, Creation: 1}},
	{ei.Pid{Node: "a@b", ID: 2, Serial: 0, Creation: 2}},
	{ei.Pid{Node: "b@b", ID: 2, Serial: 0, Creation: 1}},
	{ei.Pid{Node: "a@b", ID: 1, Serial: 1, Creation: 1}},
	{ei.Tuple{}},
	{ei.Tuple{ei.Int(2)}, ei.Tuple{ei.Float(2)}},
	{ei.Tuple{ei.Int(1), ei.Int(1)}},
	{ei.Tuple{ei.Int(1), ei.Atom("a")}},
	{ei.Map{}},
	{ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}}, ei.Map{{Key: ei.Int(1), Value: ei.Float(1)}}},
	{ei.Map{{Key: ei.Int(2), Value: ei.Int(0)}}},
	{ei.Map{{Key: ei.Float(1), Value: ei.Int(0)}}},
	{ei.Map{{Key: ei.Atom("a"), Value: ei.Int(0)}}},
	{ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}, {Key: ei.Int(2), Value: ei.Int(2)}}},
	{ei.Map{{Key: ei.Int(2), Value: ei.Int(0)}, {Key: ei.Int(1), Value: ei.Int(3)}}},
	{ei.List{}},
	{ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Int(5)}},
	{ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Atom("x")}},
	{ei.List{ei.Int(1)}, ei.String("\x01"), ei.List{ei.Float(1)}},
	{ei.List{ei.Int(1), ei.Int(2)}, ei.String("\x01\x02"), ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.String("\x02")}},
	{ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Binary{}}},
	{ei.String("\x02")},
	{ei.List{ei.Atom("a")}},
	{ei.Binary{}, ei.Bitstring{}},
	{ei.Bitstring{Data: []byte{0}, Bits: 1}},
	{ei.Binary{0}},
	{ei.Binary{0, 0}},
	{ei.Bitstring{Data: []byte{0x80}, Bits: 1}, ei.Bitstring{Data: []byte{0xff}, Bits: 1}},
	{ei.Binary{0x80}, ei.Bitstring{Data: []byte{0x80}, Bits: 8}},
	{ei.Bitstring{Data: []byte{0xc0}, Bits: 2}},
}

func TestCompare(t *testing.T) {
	for i, as := range orderedTerms {
		for j, bs := range orderedTerms {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			for x, a := range as {
				for y, b := range bs {
					require.Equal(t, want, ei.Compare(a, b), "%v, %v", a, b)
					if i != j || x == y {
						require.Equal(t, want == 0, ei.Identical(a, b), "%v, %v", a, b)
					}
					require.Equal(t, ei.Identical(a, b), ei.Identical(b, a))
				}
			}
		}
	}
	for _, same := range [][2]ei.Term{
		{ei.String("ab"), ei.List{ei.Int('a'), ei.Int('b')}},
		{ei.Map{{Key: ei.Int(1), Value: ei.Atom("x")}, {Key: ei.Int(2), Value: ei.Atom("y")}},
			ei.Map{{Key: ei.Int(2), Value: ei.Atom("y")}, {Key: ei.Int(1), Value: ei.Atom("x")}}},
		{ei.Raw("a\x05"), ei.Int(5)},
		{ei.Tuple{ei.Raw("j")}, ei.Tuple{ei.List{}}},
		{ei.List{ei.Raw("k\x00\x01a")}, ei.List{ei.List{ei.Int('a')}}},
		{ei.ImproperList{Elems: []ei.Term{ei.Int('a')}, Tail: ei.Raw("k\x00\x01b")}, ei.String("ab")},
		{ei.ImproperList{Tail: ei.Int(1)}, ei.Int(1)},
		{ei.Raw("bad"), ei.Raw("bad")},
		{ei.Local("x"), ei.Local("x")},
		{ei.BigInt{}, ei.Int(0)},
		{ei.Ref{Len: 1, ID: [5]uint32{7}}, ei.Ref{Len: 3, ID: [5]uint32{7}}},
	} {
		require.True(t, ei.Identical(same[0], same[1]), "%v, %v", same[0], same[1])
		require.Zero(t, ei.Compare(same[0], same[1]), "%v, %v", same[0], same[1])
	}
	many := ei.Bitstring{Data: []byte{1, 2}, Bits: 200} // which has 8
	require.Zero(t, ei.Compare(many, ei.Binary{1, 2}))
	require.Negative(t, ei.Compare(many, ei.Binary{1, 2, 0}))
	for _, different := range [][2]ei.Term{
		{ei.Int(1), ei.Float(1)},
		{ei.Float(0), negativeZero},
		{ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}}, ei.Map{{Key: ei.Float(1), Value: ei.Int(1)}}},
		{ei.List{ei.Int(1)}, ei.List{ei.Float(1)}},
		{ei.Raw("bad"), ei.Raw("worse")},
	} {
		require.False(t, ei.Identical(different[0], different[1]), "%v, %v", different[0], different[1])
	}
	record := func(module, name ei.Atom, exported bool, v ei.Term) ei.Record {
		return ei.Record{Module: module, Name: name, Exported: exported, Fields: []ei.Field{{Name: "f", Value: v}}}
	}
	ascending := []ei.Term{
		ei.Tuple{ei.Int(1), ei.Int(2), ei.Int(3)},
		record("a", "x", true, ei.Int(9)), record("b", "a", true, ei.Int(9)), record("b", "b", false, ei.Int(9)), record("b", "b", true,
			ei.Int(1)), record("b", "b", true, ei.Int(2)),
		ei.Map{}, ei.Binary{}, ei.Raw("bad"), ei.Local("x"), nil,
	}
	require.True(t, slices.IsSortedFunc(ascending, ei.Compare))
	for i := range ascending {
		for j := range i {
			require.Equal(t, 1, ei.Compare(ascending[i], ascending[j]), "%v, %v", ascending[i], ascending[j])
		}
	}
}

// records are native records in ascending order.
func records() (ts []ei.Term) {
	add := func(name ei.Atom, fields ...ei.Field) {
		ts = append(ts, ei.Record{Module: "m", Name: name, Exported: true, Fields: fields})
	}
	field := func(name ei.Atom, v int64) ei.Field { return ei.Field{Name: name, Value: ei.Int(v)} }
	add("r")
	add("r", field("z", 9))
	add("r", field("a", 1), field("z", 2))
	add("r", field("a", 2), field("z", 1))
	add("r", field("z", 1), field("a", 2)) // the order of the definition counts
	add("r", field("z", 2), field("a", 1))
	add("r", field("a", 0), field("b", 0), field("c", 0))
	add("s")
	return ts
}

func TestCompareRecords(t *testing.T) {
	rs := records()
	require.True(t, slices.IsSortedFunc(rs, ei.Compare))
	var keys ei.Map
	for i, r := range rs {
		for _, s := range rs[:i] {
			require.False(t, ei.Identical(r, s), "%v, %v", r, s)
		}
		keys = append(keys, ei.Pair{Key: r, Value: ei.Int(int64(i))})
	}
	data := marshal(t, keys)
	_ = decode(t, data)
}

// TestCompareRecordsWithErl asks a runtime system that has native records, OTP 29 or later.
func TestCompareRecordsWithErl(t *testing.T) {
	for _, erl := range needErl(t) {
		release, err := strconv.Atoi(askErl(t, erl, []string{"release"})[0])
		require.NoError(t, err)
		if release >= 29 {
			compareWith(t, erl, records())
			return
		}
	}
	need.Missing(t, "not checked with a real runtime system: no OTP 29")
}

// TestCompareWithErl asks a real runtime system for the order of each pair of terms in the tables.
func TestCompareWithErl(t *testing.T) {
	erl := needErl(t)[0]
	var terms []ei.Term
	for _, ts := range orderedTerms {
		for _, term := range ts {
			if s, ok := term.(ei.Bitstring); !ok || len(s.Data) > 0 {
				terms = append(terms, term)
			}
		}
	}
	vs, _ := readVectors(t)
	for _, v := range vs {
		if v.since() == 0 {
			term := decode(t, v.data)
			terms = append(terms, term)
		}
	}
	compareWith(t, erl, terms)
}

func compareWith(t *testing.T, erl string, terms []ei.Term) {
	t.Helper()
	var hexes []string
	for _, term := range terms {
		data := marshal(t, term)
		hexes = append(hexes, hex.EncodeToString(data))
	}
	rows := askErl(t, erl, []string{"order " + strings.Join(hexes, " ")})
	theirs := rows[0]
	require.Len(t, theirs, len(terms)*len(terms))
	var ours bytes.Buffer
	for _, a := range terms {
		for _, b := range terms {
			ours.WriteByte("<=>"[ei.Compare(a, b)+1])
		}
	}
	for i := range theirs {
		if theirs[i] != ours.Bytes()[i] {
			a, b := terms[i/len(terms)], terms[i%len(terms)]
			t.Errorf("runtime system: %v %c %v, here %c", a, theirs[i], b, ours.Bytes()[i])
		}
	}
}

func TestCompareIsFastOnKeysOfKeys(t *testing.T) {
	// Two maps with two maps as keys, and so on, that differ only in the innermost one. Sorting
	// during the comparison would take 4^depth steps.
	var build func(depth int, leaf ei.Term) ei.Term
	build = func(depth int, leaf ei.Term) ei.Term {
		if depth == 0 {
			return ei.Map{{Key: ei.Int(1), Value: leaf}, {Key: ei.Int(2), Value: leaf}}
		}
		return ei.Map{
			{Key: build(depth-1, ei.Int(1)), Value: ei.Int(1)},
			{Key: build(depth-1, leaf), Value: ei.Int(2)},
		}
	}
	a, b := build(15, ei.Int(2)), build(15, ei.Int(3))
	data := append([]byte{ei.VersionMagic}, unchecked(a)...)
	done := make(chan int, 1)
	go func() {
		_, _ = ei.Decode(data)
		_, _ = ei.Marshal(a)
		done <- ei.Compare(a, b)
	}()
	select {
	case got := <-done:
		require.Equal(t, -1, got)
	case <-time.After(time.Minute):
		t.Fatal("takes more than linear time")
	}
}

// Maps that a fun has captured are equal in whichever order their keys are.
func TestCompareFunsWithMaps(t *testing.T) {
	one, two := ei.Pair{Key: ei.Atom("a"), Value: ei.Int(1)}, ei.Pair{Key: ei.Atom("b"), Value: ei.Int(2)}
	fun := func(pairs ...ei.Pair) ei.Term {
		return ei.Fun{Module: "m", Free: []ei.Term{ei.Tuple{ei.Map(pairs)}, ei.Map(pairs)}}
	}
	require.Zero(t, ei.Compare(fun(one, two), fun(two, one)))
	require.Zero(t, ei.Compare(ei.Map{{Key: fun(one, two)}}, ei.Map{{Key: fun(two, one)}}))
	require.NotZero(t, ei.Compare(fun(one), fun(two)))
}
