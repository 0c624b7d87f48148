package ei_test

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// encoded gives the encoded form of what text says, with the version byte.
func encoded(t testing.TB, text string) []byte {
	t.Helper()
	return marshal(t, parsed(t, text))
}

// readInto unmarshals data into a new value of the type, in each way that there is, which must
// agree.
func readInto(t testing.TB, o ei.DecodeOptions, data []byte, typ reflect.Type) (any, error) {
	t.Helper()
	ways := []func(v any) error{
		func(v any) error { return o.Unmarshal(ei.Raw(data), v) },
		func(v any) error { return o.Unmarshal(ei.Raw(data[1:]), v) },
		func(v any) error {
			term, err := o.Decode(data)
			if err != nil {
				return err
			}
			return o.Unmarshal(term, v)
		},
		func(v any) error {
			c := ei.NewCursor(append(append([]byte("ja\x01"), data[1:]...), "rest"...))
			require.NoError(t, c.Skip())
			require.NoError(t, c.Skip())
			if o != (ei.DecodeOptions{}) {
				raw, err := c.Raw()
				if err != nil {
					return err
				}
				return o.Unmarshal(raw, v)
			}
			err := c.Unmarshal(v)
			if err != nil {
				require.Equal(t, 3, c.Offset(), "the cursor stays")
			} else {
				require.Equal(t, "rest", string(c.Rest()))
			}
			return err
		},
		func(v any) error {
			packed, err := ei.AppendCompressed(ei.AppendVersion(nil), ei.Raw(data[1:]), 9)
			require.NoError(t, err)
			return o.Unmarshal(ei.Raw(packed), v)
		},
	}
	var first any
	var firstErr error
	for i, way := range ways {
		v := reflect.New(typ)
		err := way(v.Interface())
		if i == 0 {
			first, firstErr = v.Elem().Interface(), err
			continue
		}
		require.Equal(t, firstErr == nil, err == nil, "way %d: %v, %v", i, firstErr, err)
		if err == nil {
			require.Equal(t, first, v.Elem().Interface(), "way %d", i)
		} else {
			for _, kind := range []error{ei.ErrType, ei.ErrRange, ei.ErrDuplicate, ei.ErrUnknownKey, ei.ErrLimit, ei.ErrFloat, ei.ErrAtom} {
				require.Equal(t, errorsIs(firstErr, kind), errorsIs(err, kind), "way %d: %v, %v", i, firstErr, err)
			}
		}
	}
	return first, firstErr
}

type (
	myUint    uint32
	myFloat   float32
	myBool    bool
	myArray   [2]byte
	myByte    byte
	mySlice   []myInt
	myMap     map[myString]myInt
	myName    ei.Atom
	myTuple   ei.Tuple
	otherRaw  ei.Raw
	charlists struct {
		_ struct{} `ei:"tuple"`
		A string   `ei:",charlist"`
	}
	atoms struct {
		_ struct{}                         `ei:"tuple"`
		A string                           `ei:",atom"`
		B []string                         `ei:",atom"`
		C *string                          `ei:",atom"`
		D map[string][]ei.Optional[string] `ei:",atom"`
	}
	binaries struct {
		_ struct{}            `ei:"tuple"`
		A ei.Atom             `ei:",binary"`
		B []*ei.Atom          `ei:",binary"`
		C map[ei.Atom]ei.Atom `ei:",binary"`
	}
)

// What text says becomes the value.
func TestUnmarshalReads(t *testing.T) {
	big1 := func(s string) *big.Int { v, _ := new(big.Int).SetString(s, 10); return v }
	for _, tt := range []struct {
		text string
		want any
	}{
		// numbers
		{"127", int8(127)}, {"-128", int8(-128)}, {"255", uint8(255)}, {"0", uint8(0)},
		{"32767", int16(32767)}, {"-32768", int16(-32768)}, {"65535", uint16(65535)},
		{"2147483647", int32(math.MaxInt32)}, {"-2147483648", int32(math.MinInt32)}, {"4294967295", uint32(math.MaxUint32)},
		{"9223372036854775807", int64(math.MaxInt64)}, {"-9223372036854775808", int64(math.MinInt64)},
		{"18446744073709551615", uint64(math.MaxUint64)}, {strconv.FormatUint(math.MaxUint, 10), uint(math.MaxUint)},
		{strconv.Itoa(math.MaxInt), math.MaxInt}, {strconv.Itoa(math.MinInt), math.MinInt},
		{"9223372036854775808", uint64(1 << 63)}, {"1", uintptr(1)},
		{"5", myInt(5)}, {"5", myUint(5)}, {"0.5", myFloat(0.5)}, {"5", myFloat(5)},
		{"5", big1("5")}, {"-18446744073709551616", big1("-18446744073709551616")}, {"0", *big1("0")},
		{"1.5", 1.5}, {"-0.0", math.Copysign(0, -1)}, {"1.5", float32(1.5)}, {"1.0e308", 1e308},
		{"3.4028234663852886e38", float32(math.MaxFloat32)},
		{"1.401298464324817e-45", float32(math.SmallestNonzeroFloat32)}, {"5.0e-324", math.SmallestNonzeroFloat64},
		{"0.1", float32(0.1)},
		{"9007199254740992", float64(1 << 53)}, {"-9007199254740992", float64(-1 << 53)}, {"16777216", float32(1 << 24)},
		{"9007199254740994", float64(1<<53 + 2)}, {"18446744073709551616", float64(1 << 64)},
		{"0", 0.0}, {"-1", float32(-1)}, {"9223372036854775808", float64(1 << 63)}, {"-9223372036854775808", float64(-1 << 63)},
		// atoms
		{"true", true}, {"false", myBool(false)}, {"x", ei.Atom("x")}, {"'A B'", ei.Atom("A B")}, {"''", ei.Atom("")},
		{"undefined", ei.Atom("undefined")}, {"nil", ei.Atom("nil")}, {"true", ei.Atom("true")},
		// I/O data
		{"<<>>", ""}, {"[]", ""}, {`"abc"`, "abc"}, {`<<"é"/utf8>>`, "é"}, {"<<255>>", "\xff"}, {"[255]", "\xff"},
		{`["ab",[<<"c">>,[]|"d"],100|<<"e">>]`, "abcdde"}, {`[<<"a">>|<<"b">>]`, "ab"}, {`[[[[[1]]]],2]`, "\x01\x02"},
		{`["ab",<<"c">>]`, []byte("abc")}, {"[]", []byte{}}, {"<<>>", []byte{}}, {"<<1>>", myBytes{1}}, {"[1]", []myByte{1}},
		{"<<1,2>>", [2]byte{1, 2}}, {"<<1,2>>", myArray{1, 2}}, {"<<>>", [0]byte{}}, {`"ab"`, myString("ab")},
		// lists
		{"[]", []int{}}, {`"abc"`, []int{97, 98, 99}}, {`"abc"`, []any{ei.Int(97), ei.Int(98), ei.Int(99)}}, {`[1,2|[3,4]]`, []int{1, 2, 3, 4}},
		{`"ab"`, []float64{97, 98}}, {`"ab"`, [2]int{97, 98}}, {"[]", [0]int{}}, {"[1]", mySlice{1}},
		{`["ab","cd"]`, [][]int{{97, 98}, {99, 100}}}, {`["ab",[]]`, []string{"ab", ""}},
		{"[undefined,nil,1]", []*int{nil, nil, ptr(1)}}, {"[undefined,nil,1]", []ei.Optional[int]{{}, {}, ei.Some(1)}},
		{"[{},[]]", []ei.Term{ei.Tuple{}, ei.List{}}},
		// maps
		{"#{}", map[string]int{}}, {"#{a => 1}", map[ei.Atom]int{"a": 1}}, {`#{<<"a">> => 1,"b" => 2}`, map[string]int{"a": 1, "b": 2}},
		{"#{1 => #{2 => 3}}", map[int]map[int8]uint{1: {2: 3}}}, {"#{1.5 => 2}", map[float64]int{1.5: 2}},
		{"#{true => 1}", map[bool]int{true: 1}}, {"#{[1,2] => 3}", map[[2]int]int{{1, 2}: 3}}, {"#{<<1,2>> => 3}", map[[2]byte]int{{1, 2}: 3}},
		{`#{<<"x">> => 1,<<>> => 2}`, map[any]int{"x": 1, "": 2}}, {`#{<<"x">> => 1}`, map[ei.Term]int{ei.BinaryKey("x"): 1}},
		{`#{<<"x">> => 1}`, map[fmt.Stringer]int{ei.BinaryKey("x"): 1}}, {`#{[<<"x">>,y] => 1}`, map[[2]any]int{{"x", ei.Atom("y")}: 1}},
		{`#{#{a => <<"x">>} => <<"y">>}`, map[anyKey]any{{"x"}: ei.Binary("y")}},
		{`#{<<"x">> => 1}`, map[ei.Optional[ei.Term]]int{ei.Some[ei.Term](ei.BinaryKey("x")): 1}},
		{"#{x => 1,2 => 3}", map[any]int{ei.Atom("x"): 1, ei.Int(2): 3}}, {"#{x => 1,2 => 3}", map[ei.Term]int{ei.Atom("x"): 1, ei.Int(2): 3}},
		{"#{#{a => 1} => 2}", map[struct{ A int }]int{{1}: 2}}, {"#{{1} => 2}", map[struct {
			_ struct{} `ei:"tuple"`
			A int
		}]int{{A: 1}: 2}},
		{"#{undefined => 1,2 => 3}", map[ei.Optional[int]]int{{}: 1, ei.Some(2): 3}},
		{`#{<<"k">> => 1}`, myMap{"k": 1}},
		{"#{#Pid<a@b.1.0.2> => true}", map[ei.Pid]bool{{Node: "a@b", ID: 1, Creation: 2}: true}},
		// pointers and what may be absent
		{"undefined", (*string)(nil)}, {"nil", (*string)(nil)}, {"undefined", (**int)(nil)}, {"7", ptr(ptr(7))},
		{"undefined", ei.Optional[*int]{}}, {"7", ei.Some(ptr(7))}, {"undefined", (*ei.Optional[int])(nil)}, {"7", ptr(ei.Some(7))},
		{"nil", ei.Optional[ei.Atom]{}}, {"nil", (*ei.Atom)(nil)}, {"undefined", (*ei.Pid)(nil)}, {"[]", ptr([]int{})},
		{"undefined", (*big.Int)(nil)}, {"nil", (*struct{ A int })(nil)}, {"undefined", (*map[string]int)(nil)},
		// results
		{"ok", ei.Result[int]{}}, {"{ok,1}", ei.Result[int]{Value: 1}}, {"ok", ei.Result[struct{}]{}},
		{"{error,enoent}", ei.Result[int]{Err: &ei.ReasonError{Reason: ei.Atom("enoent")}}},
		{"error", ei.Result[int]{Err: &ei.ReasonError{Reason: ei.Atom("error")}}},
		{"{error,{a,[1]}}", ei.Result[struct{}]{Err: &ei.ReasonError{Reason: ei.Tuple{ei.Atom("a"), ei.List{ei.Int(1)}}}}},
		{"{ok,{ok,1}}", ei.Result[ei.Result[int]]{Value: ei.Result[int]{Value: 1}}},
		{"{ok,undefined}", ei.Result[*int]{}}, {"{ok,{1,2}}", ei.Result[any]{Value: ei.Tuple{ei.Int(1), ei.Int(2)}}},
		{"undefined", ei.Optional[ei.Result[int]]{}},
		{"[{ok,1},error]", []ei.Result[int]{{Value: 1}, {Err: &ei.ReasonError{Reason: ei.Atom("error")}}}},
		// terms as they are
		{"{1,[a|b]}", ei.Tuple{ei.Int(1), ei.ImproperList{Elems: []ei.Term{ei.Atom("a")}, Tail: ei.Atom("b")}}},
		{`"ab"`, ei.String("ab")}, {"[a]", ei.List{ei.Atom("a")}}, {"[]", ei.List{}},
		{"#{a => 1}", ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}}},
		{"<<1:3>>", ei.Bitstring{Data: []byte{32}, Bits: 3}}, {"<<1>>", ei.Bitstring{Data: []byte{1}, Bits: 8}},
		{"<<>>", ei.Bitstring{Data: []byte{}}}, {"<<1>>", ei.Binary{1}}, {"1", ei.Int(1)}, {"1.0", ei.Float(1)},
		{"18446744073709551616", ei.NewBigInt(big1("18446744073709551616"))}, {"fun a:b/1", ei.Export{Module: "a", Function: "b", Arity: 1}},
		{"#Pid<a@b.1.2.3>", ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}},
		{"[a|b]", ei.ImproperList{Elems: []ei.Term{ei.Atom("a")}, Tail: ei.Atom("b")}},
		{"#Ref<a@b.1.2.3>", ei.Ref{Node: "a@b", Creation: 3, Len: 2, ID: [5]uint32{2, 1}}},
		{"#Port<a@b.1.2>", ei.Port{Node: "a@b", ID: 1, Creation: 2}},
		{"[1]", ei.Raw("l\x00\x00\x00\x01a\x01j")}, {"[a,{}]", []ei.Raw{ei.Raw("w\x01a"), ei.Raw("h\x00")}},
		// types defined from a type of terms are what that is in Go
		{`<<"x">>`, myName("x")}, {"[1]", myTuple{ei.Int(1)}}, {"<<1>>", otherRaw{1}},
		// the options of fields
		{`{<<"a">>,[<<"b">>,nil],#{k => <<"v">>}}`, binaries{A: "a", B: []*ei.Atom{ptr(ei.Atom("b")), nil}, C: map[ei.Atom]ei.Atom{"k": "v"}}},
		{`{"日本"}`, charlists{A: "日本"}}, {"{[]}", charlists{}}, {`{<<"日本"/utf8>>}`, charlists{A: "日本"}},
		{"{red,[a,b],undefined,#{<<\"k\">> => [x,undefined]}}",
			atoms{A: "red", B: []string{"a", "b"}, D: map[string][]ei.Optional[string]{"k": {ei.Some("x"), {}}}}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := readInto(t, ei.DecodeOptions{}, encoded(t, tt.text), reflect.TypeOf(tt.want))
			require.NoError(t, err, "%T", tt.want)
			require.Equal(t, tt.want, got)
		})
	}
}

// What text says does not fit a value of the type, and the error says so.
func TestUnmarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		text string
		into any
		is   error
		want string
	}{
		// numbers: nothing is cut off
		{"128", int8(0), ei.ErrRange, "ei: integer 128 where an integer (int8) is due: number out of range"},
		{"-129", int8(0), ei.ErrRange, ""}, {"256", uint8(0), ei.ErrRange, ""}, {"-1", uint8(0), ei.ErrRange, ""},
		{"32768", int16(0), ei.ErrRange, ""}, {"-32769", int16(0), ei.ErrRange, ""}, {"65536", uint16(0), ei.ErrRange, ""},
		{"2147483648", int32(0), ei.ErrRange, ""}, {"-2147483649", int32(0), ei.ErrRange, ""}, {"4294967296", uint32(0), ei.ErrRange, ""},
		{"9223372036854775808", int64(0), ei.ErrRange, ""}, {"-9223372036854775809", int64(0), ei.ErrRange, ""},
		{"18446744073709551616", uint64(0), ei.ErrRange, ""}, {"-1", uint64(0), ei.ErrRange, ""}, {"-1", uint(0), ei.ErrRange, ""},
		{"9223372036854775808", 0, ei.ErrRange, ""}, {"-9223372036854775808", uint64(0), ei.ErrRange, ""}, {"-1", uintptr(0), ei.ErrRange, ""},
		{"128", myInt(0), ei.ErrRange, ""}, {"4294967296", myUint(0), ei.ErrRange, ""},
		{"1.0", 0, ei.ErrType, "ei: float 1.0 where an integer is due"}, {"0.0", uint8(0), ei.ErrType, ""},
		{"1.0", big.NewInt(0), ei.ErrType, ""},
		{"9007199254740993", 0.0, ei.ErrRange, ""}, {"-9007199254740993", 0.0, ei.ErrRange, ""}, {"16777217", float32(0), ei.ErrRange, ""},
		{"18446744073709551617", 0.0, ei.ErrRange, ""}, {"1" + zeros(400), 0.0, ei.ErrRange, ""},
		{"1.0e39", float32(0), ei.ErrRange, "ei: float 1.0e39 where a float32 is due: number out of range"},
		{"-3.5e38", myFloat(0), ei.ErrRange, ""}, {"9223372036854775807", 0.0, ei.ErrRange, ""}, {"18446744073709551615", 0.0, ei.ErrRange, ""},
		{"true", 0, ei.ErrType, ""}, {"<<1>>", 0, ei.ErrType, ""}, {"a", 0.0, ei.ErrType, "ei: atom a where a float is due"},
		{"undefined", 0, ei.ErrType, ""}, {"nil", "", ei.ErrType, ""}, {"[]", 0, ei.ErrType, ""},
		// atoms
		{"yes", false, ei.ErrType, ""}, {"1", false, ei.ErrType, ""}, {"<<\"true\">>", false, ei.ErrType, ""},
		{"undefined", false, ei.ErrType, ""},
		{`<<"a">>`, ei.Atom(""), ei.ErrType, ""}, {`"a"`, ei.Atom(""), ei.ErrType, ""}, {"1", ei.Atom(""), ei.ErrType, ""},
		// text
		{"a", "", ei.ErrType, "ei: atom a where text is due"}, {"1", "", ei.ErrType, ""}, {"[256]", "", ei.ErrType, ""},
		{"[a]", "", ei.ErrType, ""},
		{"[-1]", "", ei.ErrType, ""}, {"[1|2]", "", ei.ErrType, ""}, {"[1|a]", "", ei.ErrType, ""}, {"<<1:3>>", "", ei.ErrType, ""},
		{"[<<1:3>>]", []byte{}, ei.ErrType, ""}, {"{}", []byte{}, ei.ErrType, ""}, {"[1.0]", "", ei.ErrType, ""}, {"[#{}]", "", ei.ErrType, ""},
		{"<<1>>", [2]byte{}, ei.ErrType, ""}, {"<<1,2,3>>", [2]byte{}, ei.ErrType, ""}, {"<<1:1>>", [1]byte{}, ei.ErrType, ""},
		// lists
		{"[1|2]", []int{}, ei.ErrType, ""}, {"{1}", []int{}, ei.ErrType, ""}, {"<<1>>", []int{}, ei.ErrType, ""},
		{"[1]", [2]int{}, ei.ErrType, ""},
		{"[1,2,3]", [2]int{}, ei.ErrType, ""}, {"[]", [1]int{}, ei.ErrType, ""}, {"[1,2]", [0]int{}, ei.ErrType, ""},
		{`"abc"`, [2]int{}, ei.ErrType, ""},
		{"[1,a]", []int{}, ei.ErrType, "ei: [1]: atom a where an integer is due"}, {`"a"`, []string{}, ei.ErrType, ""},
		{`"a"`, []bool{}, ei.ErrType, ""},
		{`[200,"é"]`, []int8{}, ei.ErrRange, ""}, {`[200,233]`, []int8{}, ei.ErrRange, ""}, {"undefined", []int{}, ei.ErrType, ""},
		{"#{}", []int{}, ei.ErrType, ""},
		{"[1,2|[a]]", []int{}, ei.ErrType, ""},
		// maps
		{"[]", map[string]int{}, ei.ErrType, ""}, {"#{a => 1}", map[string]int{}, ei.ErrType, ""},
		{"#{1 => a}", map[int]int{}, ei.ErrType, "ei: [1]: atom a where an integer is due"},
		{`#{<<"a">> => 1,"a" => 2}`, map[string]int{}, ei.ErrDuplicate, ""}, {"#{1 => 1,1.0 => 2}", map[float64]int{}, ei.ErrDuplicate, ""},
		{"#{undefined => 1,nil => 2}", map[ei.Optional[int]]int{}, ei.ErrDuplicate, ""},
		{"#{300 => 1}", map[int8]int{}, ei.ErrRange, ""}, {"{a,1}", map[ei.Atom]int{}, ei.ErrType, ""},
		{"#{0.0 => 1,-0.0 => 2}", map[float64]int{}, ei.ErrDuplicate, ""}, {"#{{} => 1}", map[any]int{}, ei.ErrType, ""},
		{"#{[] => 1}", map[ei.Term]int{}, ei.ErrType, ""}, {"#{<<1:1>> => 1}", map[any]int{}, ei.ErrType, ""},
		// results
		{"{ok,1,2}", ei.Result[int]{}, ei.ErrType, ""}, {"{ok}", ei.Result[int]{}, ei.ErrType, ""},
		{"{fine,1}", ei.Result[int]{}, ei.ErrType, ""},
		{"yes", ei.Result[int]{}, ei.ErrType, ""}, {"1", ei.Result[int]{}, ei.ErrType, ""}, {"{}", ei.Result[int]{}, ei.ErrType, ""},
		{"{error}", ei.Result[int]{}, ei.ErrType, ""}, {"{error,1,2}", ei.Result[int]{}, ei.ErrType, ""},
		{"{ok,a}", ei.Result[int]{}, ei.ErrType, ""},
		{"[ok,1]", ei.Result[int]{}, ei.ErrType, ""}, {"undefined", ei.Result[int]{}, ei.ErrType, ""},
		// terms of one type
		{"1", ei.Tuple{}, ei.ErrType, ""}, {"a", ei.Pid{}, ei.ErrType, ""}, {"[a]", ei.String(""), ei.ErrType, ""},
		{"{}", ei.Map{}, ei.ErrType, ""},
		{"1.0", ei.Int(0), ei.ErrType, ""}, {"[1|2]", ei.List{}, ei.ErrType, ""}, {"#Port<a@b.1.2>", ei.Pid{}, ei.ErrType, ""},
		{"<<1:3>>", ei.Binary{}, ei.ErrType, ""}, {"fun a:b/1", ei.Fun{}, ei.ErrType, ""},
		// options
		{"{1}", charlists{}, ei.ErrType, ""}, {`{"ab","c"}`, charlists{}, ei.ErrType, ""}, {"{ab}", charlists{}, ei.ErrType, ""},
		{"{[16#110000]}", charlists{}, ei.ErrType, ""}, {"{[16#d800]}", charlists{}, ei.ErrType, ""}, {"{[1|a]}", charlists{}, ei.ErrType, ""},
		{"{red,[a,b],undefined}", atoms{}, ei.ErrType, ""},
		{`{red,[a],1,#{}}`, atoms{}, ei.ErrType, "ei: atoms.c: integer 1 where an atom is due"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := readInto(t, ei.DecodeOptions{}, encoded(t, tt.text), reflect.TypeOf(tt.into))
			require.Error(t, err, "%T: %v", tt.into, got)
			require.ErrorIs(t, err, tt.is, "%T", tt.into)
			require.ErrorAs(t, err, new(*ei.UnmarshalError))
			if tt.want != "" {
				require.Equal(t, tt.want, err.Error())
			}
		})
	}
}

func zeros(n int) string { return strings.Repeat("0", n) }
