package ei_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

type (
	myInt    int8
	myString string
	myBytes  []byte
	celsius  float64
	myAtom   ei.Atom
)

func (c celsius) AppendTerm(b []byte) ([]byte, error) {
	if c < -273.15 {
		return b, errTooCold
	}
	return ei.AppendFloat(append(b, byte(ei.TagSmallTupleExt), 1), float64(c))
}

// owned has the methods of a term, but is encoded in a form of its own.
type owned struct{ ei.Pid }

func (o owned) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, ei.Tuple{o.Pid}) }

var errTooCold = errors.New("too cold")

func TestMarshal(t *testing.T) {
	seven, pid := 7, ei.Pid{Node: "a@b", ID: 1}
	var noInt *int
	var noBig *big.Int
	var noPid *ei.Pid
	for _, tc := range []struct {
		value any
		want  ei.Term
	}{
		{true, ei.Atom("true")},
		{false, ei.Atom("false")},
		{int(-7), ei.Int(-7)},
		{int8(-7), ei.Int(-7)},
		{int16(-7), ei.Int(-7)},
		{int32(-7), ei.Int(-7)},
		{int64(math.MinInt64), ei.Int(math.MinInt64)},
		{uint(7), ei.Int(7)},
		{uint8(255), ei.Int(255)},
		{uint16(7), ei.Int(7)},
		{uint32(math.MaxUint32), ei.Int(math.MaxUint32)},
		{uint64(math.MaxUint64), ei.NewBigInt(new(big.Int).SetUint64(math.MaxUint64))},
		{big.NewInt(5), ei.Int(5)},
		{float32(0.5), ei.Float(0.5)},
		{float64(1e300), ei.Float(1e300)},
		{"héllo", ei.Binary("héllo")},
		{[]byte{1, 2}, ei.Binary{1, 2}},
		{[]byte(nil), ei.Binary{}},
		{[]any{1, "a", ei.Atom("b"), []any{}}, ei.List{ei.Int(1), ei.Binary("a"), ei.Atom("b"), ei.List{}}},
		{[]string{"a", "b"}, ei.List{ei.Binary("a"), ei.Binary("b")}},
		{[2]string{"a", "b"}, ei.List{ei.Binary("a"), ei.Binary("b")}},
		{[0]int{}, ei.List{}},
		{[3]byte{1, 2, 3}, ei.Binary{1, 2, 3}},
		{&[2][1]byte{{1}, {2}}, ei.List{ei.Binary{1}, ei.Binary{2}}},
		{map[[2]int]bool{{1, 2}: true}, ei.Map{{Key: ei.List{ei.Int(1), ei.Int(2)}, Value: ei.Atom("true")}}},
		{[]int(nil), ei.List{}},
		{[]ei.Term{ei.Int(1)}, ei.List{ei.Int(1)}},
		{[]ei.Atom{"a"}, ei.List{ei.Atom("a")}},
		{map[string]int{"b": 2, "a": 1}, ei.Map{{Key: ei.Binary("a"), Value: ei.Int(1)}, {Key: ei.Binary("b"), Value: ei.Int(2)}}},
		{map[ei.Atom]any{"b": []int{1}, "a": nil2}, ei.Map{{Key: ei.Atom("a"), Value: ei.Tuple{}},
			{Key: ei.Atom("b"), Value: ei.List{ei.Int(1)}}}},
		{map[any]any{}, ei.Map{}},
		{myInt(3), ei.Int(3)},
		{myString("x"), ei.Binary("x")},
		{myBytes("x"), ei.Binary("x")},
		{&seven, ei.Int(7)},
		{celsius(20), ei.Tuple{ei.Float(20)}},
		{[]celsius{20}, ei.List{ei.Tuple{ei.Float(20)}}},
		{ei.Tuple{ei.Int(1)}, ei.Tuple{ei.Int(1)}},
		{&pid, pid},
		{noInt, ei.Atom("undefined")},
		{noBig, ei.Atom("undefined")},
		{noPid, ei.Atom("undefined")},
		{(*marshaler)(nil), ei.Atom("undefined")},
		{[]*int{nil, &seven}, ei.List{ei.Atom("undefined"), ei.Int(7)}},
		{struct{}{}, ei.Map{}},
		{struct{ A any }{}, ei.Map{{Key: ei.Atom("a"), Value: ei.Atom("undefined")}}},
		{[]*ei.Pid{&pid}, ei.List{pid}},
		{map[string]*ei.Pid{"x": &pid}, ei.Map{{Key: ei.Binary("x"), Value: pid}}},
		{myAtom("x"), ei.Binary("x")},
		{owned{pid}, ei.Tuple{pid}},
		{&owned{pid}, ei.Tuple{pid}},
		{ei.Raw("a\x05"), ei.Int(5)},
		{ei.List(nil), ei.List{}},
		{ei.Tuple(nil), ei.Tuple{}},
		{ei.Bitstring{}, ei.Binary{}}, // OTP 27 takes an empty BIT_BINARY_EXT for malformed
	} {
		data := marshal(t, tc.value)
		got := decode(t, data)
		require.Equal(t, tc.want, got, "%#v", tc.value)
	}
}

var nil2 = ei.Tuple{}

func TestMarshalRefuses(t *testing.T) {
	cycle := []any{nil}
	cycle[0] = cycle
	var pointers any
	pointers = &pointers
	pid := ei.Pid{Node: "a@b"}
	// V4_PORT_EXT
	longPort := decode(t, []byte("\x83x"+nodeAtom+"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00"))
	for _, tc := range []struct {
		value any
		err   error
	}{
		{math.NaN(), ei.ErrFloat},
		{[]float64{math.Inf(1)}, ei.ErrFloat},
		{float32(math.Inf(-1)), ei.ErrFloat},
		{ei.Float(math.Inf(-1)), ei.ErrFloat},
		{ei.Atom(strings.Repeat("x", 256)), ei.ErrAtom},
		{ei.Atom("\xff"), ei.ErrAtom},
		{ei.Tuple{ei.Atom("\xff")}, ei.ErrAtom},
		{ei.Map{{Key: ei.Int(1), Value: ei.Atom("\xff")}}, ei.ErrAtom},
		{ei.Map{{Key: ei.Atom("\xff"), Value: ei.Int(1)}}, ei.ErrAtom},
		{ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Atom("\xff")}, ei.ErrAtom},
		{ei.Pid{Node: "\xff"}, ei.ErrAtom},
		{ei.Port{Node: "\xff"}, ei.ErrAtom},
		{ei.Ref{Node: "\xff", Len: 1}, ei.ErrAtom},
		{ei.Ref{Node: "a@b"}, ei.ErrMalformed},
		{ei.Ref{Node: "a@b", Len: 6}, ei.ErrMalformed},
		{ei.Export{Module: "m", Function: "\xff"}, ei.ErrAtom},
		{ei.Fun{Arity: 256}, ei.ErrRange},
		{ei.Fun{Arity: -2}, ei.ErrRange},
		{ei.Fun{Module: "\xff"}, ei.ErrAtom},
		{ei.Fun{Pid: ei.Pid{Node: "\xff"}}, ei.ErrAtom},
		{ei.Fun{Arity: -1, Pid: ei.Pid{Node: "\xff"}}, ei.ErrAtom},
		{ei.Fun{Free: []ei.Term{ei.Atom("\xff")}}, ei.ErrAtom},
		{ei.Record{Module: "\xff"}, ei.ErrAtom},
		{ei.Record{Name: "\xff"}, ei.ErrAtom},
		{ei.Record{Fields: []ei.Field{{Name: "\xff", Value: ei.Int(1)}}}, ei.ErrAtom},
		{ei.Record{Fields: []ei.Field{{Name: "a", Value: ei.Atom("\xff")}}}, ei.ErrAtom},
		{ei.Bitstring{Data: []byte{1}}, ei.ErrMalformed},
		{ei.Bitstring{Data: []byte{1}, Bits: 9}, ei.ErrMalformed},
		{ei.Bitstring{Bits: 1}, ei.ErrMalformed},
		{map[any]int{1: 1, int64(1): 2}, ei.ErrDuplicate},
		{map[any]int{0: 1, ei.BigInt{}: 2}, ei.ErrDuplicate},
		{map[any]int{ei.Port{Node: "a@b", ID: 5}: 1, longPort: 2}, ei.ErrDuplicate},
		{map[float64]int{math.NaN(): 1}, ei.ErrFloat},
		{cycle, ei.ErrCyclic},
		{pointers, ei.ErrCyclic},
		{celsius(-300), errTooCold},
		{[]any{1, celsius(-300)}, errTooCold},
	} {
		data, err := ei.Marshal(tc.value)
		require.ErrorIs(t, err, tc.err, "%T", tc.value)
		require.Nil(t, data)
		b, err := ei.Append([]byte("kept"), tc.value)
		require.ErrorIs(t, err, tc.err)
		require.Equal(t, "kept", string(b))
	}
	for _, value := range []any{nil, make(chan int), func() {}, complex(1, 1), ei.Tuple{nil},
		ei.Tuple{&pid},
		ei.ImproperList{}, ei.ImproperList{Elems: []ei.Term{ei.Int(1)}}, struct{ ei.Pid }{pid}} {
		_, err := ei.Marshal(value)
		require.ErrorAs(t, err, new(*ei.MappingError), "%T", value)
		require.NotEmpty(t, err.Error())
	}
}

type marshaler struct{}

func (*marshaler) AppendTerm(b []byte) ([]byte, error) { panic("called on nil") }

func TestAppendersRefuse(t *testing.T) {
	kept := []byte("kept")
	pid := ei.Pid{Node: "a@b", Creation: 4}
	for name, call := range map[string]func() ([]byte, error){
		"float":            func() ([]byte, error) { return ei.AppendFloat(kept, math.NaN()) },
		"old float":        func() ([]byte, error) { return ei.AppendOldFloat(kept, math.Inf(1)) },
		"old float, NaN":   func() ([]byte, error) { return ei.AppendOldFloat(kept, math.NaN()) },
		"atom":             func() ([]byte, error) { return ei.AppendAtom(kept, ei.Atom(strings.Repeat("é", 256))) },
		"Latin-1 atom":     func() ([]byte, error) { return ei.AppendLatin1Atom(kept, "日") },
		"long Latin-1":     func() ([]byte, error) { return ei.AppendSmallLatin1Atom(kept, ei.Atom(strings.Repeat("é", 256))) },
		"module":           func() ([]byte, error) { return ei.AppendTerm(kept, ei.Export{Module: "\xff", Function: "f"}) },
		"function":         func() ([]byte, error) { return ei.AppendTerm(kept, ei.Export{Module: "m", Function: "\xff"}) },
		"bitstring":        func() ([]byte, error) { return ei.AppendBitstring(kept, []byte{1}, 9) },
		"no bitstring":     func() ([]byte, error) { return ei.AppendBitstring(kept, nil, 3) },
		"old pid":          func() ([]byte, error) { return ei.AppendOldPid(kept, pid) },
		"old port":         func() ([]byte, error) { return ei.AppendOldPort(kept, ei.Port{Node: "a@b", ID: 1 << 32}) },
		"old port, node":   func() ([]byte, error) { return ei.AppendOldPort(kept, ei.Port{Node: "\xff"}) },
		"old ref":          func() ([]byte, error) { return ei.AppendOldRef(kept, ei.Ref{Node: "a@b", Len: 1, Creation: 4}) },
		"old ref of 0":     func() ([]byte, error) { return ei.AppendOldRef(kept, ei.Ref{Node: "a@b"}) },
		"old ref of 6":     func() ([]byte, error) { return ei.AppendOldRef(kept, ei.Ref{Node: "a@b", Len: 6}) },
		"old ref of \xff":  func() ([]byte, error) { return ei.AppendOldRef(kept, ei.Ref{Node: "\xff", Len: 1}) },
		"oldest ref":       func() ([]byte, error) { return ei.AppendOldestRef(kept, ei.Ref{Node: "a@b", Len: 2}) },
		"oldest ref, node": func() ([]byte, error) { return ei.AppendOldestRef(kept, ei.Ref{Node: "\xff", Len: 1}) },
		"raw with version": func() ([]byte, error) { return ei.AppendTerm(kept, ei.List{ei.Raw("\x83j")}) },
		"empty raw":        func() ([]byte, error) { return ei.AppendTerm(kept, ei.Tuple{ei.Int(1), ei.Raw(nil), ei.Int(2)}) },
		"empty raw, in Go": func() ([]byte, error) { return ei.Append(kept, []any{ei.Raw{}}) },
		"level":            func() ([]byte, error) { return ei.AppendCompressed(kept, ei.Raw("j"), 10) },
	} {
		b, err := call()
		require.Error(t, err, name)
		require.Equal(t, "kept", string(b), name)
	}
	b, err := ei.AppendBitstring(nil, []byte{0xff}, 8)
	require.NoError(t, err)
	require.Equal(t, "m\x00\x00\x00\x01\xff", string(b))
	for _, bits := range []uint8{0, 8} {
		b, err = ei.AppendBitstring(nil, nil, bits)
		require.NoError(t, err)
		require.Equal(t, "m\x00\x00\x00\x00", string(b))
	}
	b, err = ei.AppendBitstring(nil, []byte{0xff}, 3)
	require.NoError(t, err)
	require.Equal(t, "M\x00\x00\x00\x01\x03\xe0", string(b))
}

func TestAppendString(t *testing.T) {
	for _, n := range []int{0, 1, 65535, 65536, 70000} {
		s := strings.Repeat("x", n)
		got := decode(t, ei.AppendString(ei.AppendVersion(nil), s))
		switch {
		case n == 0:
			require.Equal(t, ei.List{}, got)
		case n <= 65535:
			require.Equal(t, ei.String(s), got)
		default:
			require.Len(t, got, n)
		}
		require.Zero(t, ei.Compare(got, ei.String(s)))
	}
}

func TestDecodeCopies(t *testing.T) {
	term := ei.Tuple{ei.Binary("hello"), ei.Binary(strings.Repeat("x", 100)), ei.Bitstring{Data: []byte{1}, Bits: 1}, ei.String("text"),
		ei.Atom("an_atom"), ei.Local("x")[:0:0]}[:5]
	data := marshal(t, term)
	term[2] = ei.Bitstring{Data: []byte{0}, Bits: 1}
	got := decode(t, data)
	aliased, err := ei.DecodeOptions{Alias: true}.Decode(data)
	require.NoError(t, err)
	require.Equal(t, got, aliased)
	for i := range data {
		data[i] = '?'
	}
	require.Equal(t, term, got)
	require.Equal(t, ei.Binary("?????"), aliased.(ei.Tuple)[0])

	// Nor do the parts share memory that an append could reach.
	parts := got.(ei.Tuple)
	_ = append(parts[0].(ei.Binary), "XXXX"...)
	require.Equal(t, term, got)
}

// An atom that cannot be one is named, with what is wrong with it.
func TestBadAtomIsNamed(t *testing.T) {
	for want, value := range map[string]any{
		`ei: bad atom: "a\xff" is not valid UTF-8`: ei.Atom("a\xff"),
		`ei: bad atom: "` + strings.Repeat("ä", 60) + `" has 256 characters, of at most 255 (at /0)`: ei.Tuple{ei.Export{
			Module: "m", Function: ei.Atom(strings.Repeat("ä", 256)), Arity: 1,
		}},
	} {
		_, err := ei.Append(nil, value)
		require.EqualError(t, err, want)
	}
}

// A colour has the kind of a byte, but is not a byte.
type colour uint8

func (c colour) AppendTerm(b []byte) ([]byte, error) {
	return ei.AppendAtom(b, []ei.Atom{"red", "green"}[c])
}

// A small has the kind of a byte, too.
type small uint8

// Only a slice of bytes is a binary.
func TestMarshalSliceOfByteKind(t *testing.T) {
	type text []byte
	for want, value := range map[string]any{
		"[red,green]": []colour{0, 1}, "[1,2]": []small{1, 2}, `<<"ab">>`: text("ab"), "[]": []small{},
	} {
		data := marshal(t, value)
		got := decode(t, data)
		require.Equal(t, want, got.(fmt.Stringer).String())
	}
}

func TestMarshalPointerToLocal(t *testing.T) {
	local := ei.Local("x")
	p := &local
	data := appended(t, p)
	require.Equal(t, "yx", string(data))
	_, err := ei.Append(nil, []any{p})
	require.ErrorIs(t, err, ei.ErrLocal)
}

// keeps is a Marshaler that fails with the same error each time.
type keeps struct{ err error }

func (k keeps) AppendTerm(b []byte) ([]byte, error) { return b, k.err }

// The error of a Marshaler is not modified when it becomes part of an error that says more.
func TestMarshalerKeepsItsError(t *testing.T) {
	_, cause := ei.Append(nil, []any{make(chan int)})
	before := cause.Error()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			var e *ei.EncodeError
			_, err := ei.Append(nil, []any{1, keeps{cause}})
			require.ErrorAs(t, err, &e)
			require.Equal(t, "/1/0", e.Path)
		})
	}
	all.Wait()
	require.Equal(t, before, cause.Error())
}

// long1 is the integer 1 in a longer form than it needs, and longA the atom a.
type (
	long1 struct{}
	longA struct{}
)

func (long1) AppendTerm(b []byte) ([]byte, error) { return append(b, "b\x00\x00\x00\x01"...), nil }
func (longA) AppendTerm(b []byte) ([]byte, error) { return append(b, "v\x00\x01a"...), nil }

func TestMarshalFindsEqualKeysOfMarshalers(t *testing.T) {
	for _, m := range []map[any]int{{long1{}: 1, 1: 2}, {longA{}: 1, ei.Atom("a"): 2}} {
		_, err := ei.Append(nil, m)
		require.ErrorIs(t, err, ei.ErrDuplicate)
	}
}

// An appends is a Marshaler that appends by its own rules.
type appends func(b []byte) ([]byte, error)

func (a appends) AppendTerm(b []byte) ([]byte, error) { return a(b) }

// What a Marshaler gives that breaks the whole message is an error.
func TestMarshalerMustAppend(t *testing.T) {
	for name, tt := range map[string]struct {
		m    appends
		want error
	}{
		"nothing":        {func(b []byte) ([]byte, error) { return b, nil }, ei.ErrMalformed},
		"nil":            {func([]byte) ([]byte, error) { return nil, nil }, ei.ErrMalformed},
		"a version byte": {func(b []byte) ([]byte, error) { return append(b, 131, 106), nil }, ei.ErrTag},
		"another term":   {func([]byte) ([]byte, error) { return ei.Marshal("a text longer than what was there") }, ei.ErrMalformed},
	} {
		for _, v := range []any{tt.m, []any{1, tt.m}, &tt.m, map[string]any{"a": tt.m}} {
			kept := []byte("kept before")
			b, err := ei.Append(kept, v)
			require.ErrorIs(t, err, tt.want, name)
			require.Equal(t, kept, b, name)
		}
		_, err := ei.Marshal(map[any]any{&tt.m: 1, "a": 2})
		require.Error(t, err, name)
	}
	_, err := ei.Append(nil, appends(func([]byte) ([]byte, error) { return ei.Marshal(1) }))
	require.ErrorIs(t, err, ei.ErrTag)
}

// What is nil within a Go value is absent there, as a field is; a Term that is nil is a mistake.
func TestNilWithin(t *testing.T) {
	for want, value := range map[string]any{
		"[undefined,1]":                     []any{nil, 1},
		`#{<<"a">> => undefined}`:           map[string]any{"a": nil},
		`#{<<"a">> => [#{b => undefined}]}`: map[string][]any{"a": {struct{ B any }{}}},
		"[undefined]":                       []ei.Term{nil},
		"[undefined,undefined]":             [2]error{},
		"[[undefined]]":                     []any{[]any{nil}},
	} {
		require.Equal(t, want, textOf(t, value))
		b, err := ei.EncodeOptions{Absent: "nil"}.Append(nil, value)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(want, "undefined", "nil"), ei.Raw(b).String())
	}
	for _, value := range []any{nil, ei.List{nil}, ei.Tuple{nil}, new(any)} {
		_, err := ei.Append(nil, value)
		require.ErrorAs(t, err, new(*ei.MappingError))
	}
}

// A path leads into closures, and to a missing tail; a step is shortened if its key is long.
func TestEncodeErrorSteps(t *testing.T) {
	for want, value := range map[string]any{
		"/0/1":                                 ei.Tuple{ei.Fun{Module: "m", Pid: ei.Pid{Node: "a@b"}, Free: []ei.Term{ei.Int(1), nil}}},
		"/0/2":                                 ei.Tuple{ei.ImproperList{Elems: []ei.Term{ei.Int(1), ei.Int(2)}}},
		"/" + strings.Repeat("x", 100) + "…/1": map[string]any{strings.Repeat("x", 1<<20): []any{1, make(chan int)}},
		"/" + strings.Repeat("x", 99) + "…":    map[string]any{strings.Repeat("x", 99) + "ä": make(chan int)},
	} {
		var e *ei.EncodeError
		_, err := ei.Append(nil, value)
		require.ErrorAs(t, err, &e)
		require.Equal(t, want, e.Path)
	}
}

// A term that contains itself is an error, not the end of the program.
func TestTermWithinItself(t *testing.T) {
	list, tuple := ei.List{nil}, ei.Tuple{nil}
	list[0], tuple[0] = list, tuple
	tail := []ei.Term{nil}
	tail[0] = ei.ImproperList{Elems: tail, Tail: ei.Int(1)}
	m := ei.Map{{Key: ei.Int(1)}}
	m[0].Value = m
	record := ei.Record{Module: "m", Name: "n", Fields: []ei.Field{{Name: "f"}}}
	record.Fields[0].Value = record
	fun := ei.Fun{Module: "m", Pid: ei.Pid{Node: "a@b"}, Free: []ei.Term{nil}}
	fun.Free[0] = fun
	terms := []ei.Term{list, fun, tuple, tail[0], m, record}
	for _, term := range terms {
		b, err := ei.Append([]byte{1}, term)
		require.ErrorIs(t, err, ei.ErrCyclic, "%T", term)
		require.Less(t, len(err.Error()), 1000)
		require.Equal(t, []byte{1}, b)
	}
	_, err := ei.AppendTerm(nil, fun)
	require.ErrorIs(t, err, ei.ErrCyclic)
}

// So is a Go value that contains itself.
func TestValueWithinItself(t *testing.T) {
	slice, m := []any{1, nil}, map[string]any{}
	slice[1], m["m"] = slice, m
	terms := []any{slice, m, []any{m}}
	for _, value := range terms {
		b, err := ei.Append([]byte{1}, value)
		require.ErrorIs(t, err, ei.ErrCyclic, "%T", value)
		require.Equal(t, []byte{1}, b)
	}
}

// Keys of maps are looked at once, however deep maps are within keys.
func TestKeysWithinKeysCostNoMore(t *testing.T) {
	const deep = 3000
	var key ei.Term = ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}}
	for range deep {
		key = ei.Map{{Key: key, Value: ei.Int(1)}}
	}
	var err error
	require.Less(t, allocated(func() { _, err = ei.AppendTerm(nil, key) }), 1000*deep)
	require.NoError(t, err)

	within := ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}, {Key: ei.Int(1), Value: ei.Int(2)}}
	for _, m := range []ei.Term{
		ei.Map{{Key: within, Value: ei.Int(1)}}, ei.Map{{Key: ei.Int(1), Value: within}}, ei.Tuple{within},
		ei.Map{{Key: ei.Tuple{ei.List{within}}, Value: ei.Int(1)}}, ei.Map{{Key: ei.Fun{Free: []ei.Term{within}}, Value: ei.Int(1)}},
		ei.Map{{Key: ei.Map{{Key: ei.Int(1), Value: within}}, Value: ei.Int(1)}},
		ei.Map{{Key: ei.Record{Fields: []ei.Field{{Name: "a", Value: within}}}, Value: ei.Int(1)}},
		ei.Map{{Key: ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: within}, Value: ei.Int(1)}},
	} {
		_, err := ei.AppendTerm(nil, m)
		require.ErrorIs(t, err, ei.ErrDuplicate, "%v", m)
	}
}
