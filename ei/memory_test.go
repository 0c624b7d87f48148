package ei_test

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// needs64 skips a test whose figures are those of words of 64 bits: where an int has 32, Go's
// values are smaller.
func needs64(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("its figures are those of 64 bits")
	}
}

// A memOrder is a struct of some 200 bytes, all of which a peer may leave out.
type memOrder struct {
	SKU, Title, Customer, Street, City, Country string
	Qty                                         int
	Price                                       float64
	Tags                                        []string
	Note                                        *string
	Lines                                       []memLine
	Attributes                                  map[string]string
	Placed                                      ei.Optional[int64]
}

type memLine struct {
	SKU   string
	Qty   int
	Price float64
}

type memBig struct {
	A [1000]int
	N *memBig
}

type (
	memMore struct {
		B [1 << 12]byte `ei:"b"`
		C *int
	}
	MemMore  = memMore
	memAny   interface{ isMem() }
	memLarge struct {
		_ struct{} `ei:"tuple=large"`
		A struct{ A [500]int }
		B ei.Optional[int]
	}
	memSmall struct {
		_ struct{} `ei:"atom=small"`
	}
	memOwn struct{ all []memBig }
)

func (memLarge) isMem() {}
func (memSmall) isMem() {}

func (o *memOwn) ReadTerm(c *ei.Cursor) error { return c.Unmarshal(&o.all) }

func init() { ei.RegisterVariants[memAny](memLarge{}, memSmall{}) }

// many is an encoded list of n terms.
func many(n int, part string) []byte {
	return ei.AppendNil(append(ei.AppendListHeader(nil, n), strings.Repeat(part, n)...))
}

const (
	emptyMap  = "t\x00\x00\x00\x00"
	emptyList = "j"
)

// hostile are terms that take the most memory of what they are stored in.
var hostileValues = []struct {
	name string
	term func(n int) []byte // of some n bytes
	into any
}{
	{"structs of empty maps", func(n int) []byte { return many(n/5, emptyMap) }, new([]memOrder)},
	{"large structs", func(n int) []byte { return many(n/5, emptyMap) }, new([]memBig)},
	{"pointers", func(n int) []byte { return many(n/5, emptyMap) }, new([]*memOrder)},
	{"pointers to large structs", func(n int) []byte { return many(n/5, emptyMap) }, new([]*memBig)},
	{"optionals", func(n int) []byte { return many(n/5, emptyMap) }, new([]ei.Optional[memBig])},
	{"absent optionals", func(n int) []byte { return many(n/5, "w\x03nil") }, new([]ei.Optional[memBig])},
	{"results", func(n int) []byte { return many(n/4, "w\x02ok") }, new([]ei.Result[memBig])},
	{"variants", func(n int) []byte {
		return many(n/21, "h\x03w\x05larget\x00\x00\x00\x00w\x03nil")
	}, new([]memAny)},
	{"small variants", func(n int) []byte { return many(n/7, "w\x05small") }, new([]memAny)},
	{"embedded pointers", func(n int) []byte { return many(n/12, "t\x00\x00\x00\x01w\x01cw\x03nil") }, new([]struct{ *MemMore })},
	{"lists of one", func(n int) []byte { return many(n/11, "l\x00\x00\x00\x01"+emptyMap+"j") }, new([][]memBig)},
	{"nested arrays", func(n int) []byte {
		return many(n/15, "l\x00\x00\x00\x02"+strings.Repeat(emptyMap, 2)+"j")
	}, new([][2]memBig)},
	{"arrays of arrays", func(n int) []byte {
		return many(n/20, "l\x00\x00\x00\x01l\x00\x00\x00\x01"+"w\x02ok"+"jj")
	}, new([][1][1]ei.Result[[16]struct{ A [64]int }])},
	{"maps", func(n int) []byte { return mapOfInts(n/10, emptyMap) }, new(map[int]memBig)},
	{"maps of small structs", func(n int) []byte { return mapOfInts(n/10, emptyMap) }, new(map[int]struct{ A [16]int })},
	{"large keys", func(n int) []byte {
		b := ei.AppendMapHeader(nil, n/12)
		for i := range n / 12 {
			b = append(ei.AppendInt(append(b, "t\x00\x00\x00\x01w\x01k"...), int64(i)), 'j')
		}
		return b
	}, new(map[struct {
		K int `ei:"k"`
		A [100]int
	}]string)},
	{"a list of empty maps", func(n int) []byte { return many(n/5, emptyMap) }, new([]map[string]int)},
	{"maps of one", func(n int) []byte {
		return many(n/16, "t\x00\x00\x00\x01m\x00\x00\x00\x01k"+emptyMap)
	}, new([]map[string]memLine)},
	{"small maps", func(n int) []byte {
		return many(n/13, "t\x00\x00\x00\x01m\x00\x00\x00\x01ka\x01")
	}, new([]map[string]any)},
	{"maps in maps", func(n int) []byte { return mapOfInts(n/10, emptyMap) }, new(map[int]map[int]int)},
	{"empty lists", func(n int) []byte { return many(n, emptyList) }, new([][]memOrder)},
	{"terms", func(n int) []byte { return many(n, emptyList) }, new([]any)},
	{"texts", func(n int) []byte { return many(n/4, "k\x00\x01x") }, new([]string)},
	{"empty texts", func(n int) []byte { return many(n, emptyList) }, new([]string)},
	{"short binaries", func(n int) []byte { return many(n/6, "m\x00\x00\x00\x01x") }, new([][]byte)},
	{"encoded terms", func(n int) []byte { return many(n, emptyList) }, new([]ei.Raw)},
	{"integers of any size", func(n int) []byte { return many(n/2, "a\x01") }, new([]*big.Int)},
	{"atoms", func(n int) []byte {
		b := ei.AppendListHeader(nil, n/5)
		for i := range n / 5 {
			b = append(b, "w\x03"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676%26))...)
		}
		return ei.AppendNil(b)
	}, new([]*ei.Atom)},
	{"pids", func(n int) []byte { return many(n/15, "Xw\x00"+strings.Repeat("\x00", 12)) }, new([]*ei.Pid)},
	{"a string as a list", func(n int) []byte {
		return many(n/10, "k\x00\x07\x01\x02\x03\x04\x05\x06\x07")
	}, new([][]ei.Optional[int64])},
	{"a list piece by piece", func(n int) []byte {
		return ei.AppendNil([]byte(strings.Repeat("l\x00\x00\x00\x01"+emptyMap, n/10)))
	}, new([]memOrder)},
	{"an Unmarshaler", func(n int) []byte { return many(n/5, emptyMap) }, new(memOwn)},
	{"Unmarshalers", func(n int) []byte { return many(n/100, string(many(18, emptyMap))) }, new([]memOwn)},
	{"deep lists", func(n int) []byte { return nest("l\x00\x00\x00\x01", "j", "j", n/6) }, new(selfSlice)},
	{"deep maps", func(n int) []byte { return nest("t\x00\x00\x00\x01j", emptyMap, "", n/6) }, new(deepSmallMap)},
	{"wide structs", func(n int) []byte { return many(n/5, emptyMap) }, reflect.New(reflect.SliceOf(wide(300, ""))).Interface()},
}

type deepSmallMap map[string]deepSmallMap

func mapOfInts(n int, value string) []byte {
	b := ei.AppendMapHeader(nil, n)
	for i := range n {
		b = append(ei.AppendInt(b, int64(1000+i)), value...)
	}
	return b
}

// What a peer's bytes become takes no more than ten times their number of memory, or 16 MiB.
func TestMemoryInProportion(t *testing.T) {
	needs64(t)
	for _, tt := range hostileValues {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{100, 20_000, 5_000_000} {
				data := tt.term(size)
				into := reflect.New(reflect.TypeOf(tt.into).Elem())
				var err error
				n := allocated(func() { err = ei.Raw(data).Unmarshal(into.Interface()) })
				t.Logf("%d bytes: %.1f for each, %v", len(data), float64(n)/float64(len(data)), err)
				require.LessOrEqual(t, n, max(16<<20, 10*len(data))*21/20+(1<<16))
				if err != nil {
					isMemory(t, err, max(16<<20, 10*len(data)))
				}
			}
		})
	}
}

func isMemory(t *testing.T, err error, limit int) {
	var over *ei.LimitError
	require.ErrorAs(t, err, &over)
	require.ErrorIs(t, err, ei.ErrLimit)
	require.Equal(t, ei.LimitError{Limit: "Memory", Max: limit}, *over)
	require.ErrorAs(t, err, new(*ei.UnmarshalError), "it has no place")
}

// What is counted is what is taken, or somewhat more.
func TestMemoryIsCounted(t *testing.T) {
	needs64(t)
	for _, tt := range hostileValues {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{100, 1000, 10_000} {
				data := tt.term(size)
				into := reflect.New(reflect.TypeOf(tt.into).Elem())
				require.NoError(t, ei.DecodeOptions{Limits: ei.Limits{Memory: -1}}.Unmarshal(ei.Raw(data), into.Interface()))
				counted := 0
				o := ei.DecodeOptions{Limits: ei.Limits{Memory: 1 << 30}}.Shared(len(data), func(n int) error { counted += n; return nil })
				n := allocated(func() { require.NoError(t, o.Unmarshal(ei.Raw(data), into.Interface())) })
				t.Logf("%d bytes: %d allocated, %d counted", len(data), n, counted)
				require.LessOrEqual(t, n, counted*11/10+(32<<10))
				require.LessOrEqual(t, counted, 2*n+4096)
			}
		})
	}
}

// A program with ordinary values is refused nothing.
func TestMemoryOfOrdinaryValues(t *testing.T) {
	note := "as agreed"
	ordinary := memOrder{SKU: "A-1001", Title: "a book", Customer: "J. Doe", City: "Malmö", Qty: 2, Price: 9.5, Tags: []string{"new", "gift"},
		Note: &note, Lines: []memLine{{"A-1001", 1, 2.5}, {"A-1002", 2, 3.5}}, Attributes: map[string]string{"colour": "red", "size": "XL"}}
	few := func(i int) map[string]any {
		return map[string]any{"id": i, "name": fmt.Sprint("name ", i), "price": 1.5}
	}
	for _, v := range []any{
		repeated(100_000, ordinary), repeated(10_000, &ordinary), repeated(100_000, memLine{"A", 1, 2}), repeated(60_000, few(1)),
		repeated(40_000, map[string]any{"id": 1}), repeated(300_000, []int{1, 2}), repeated(300_000, []int{1000, 2000}),
		repeated(300_000, [2]int{1, 2}), repeated(2_000_000, 1), repeated(300_000, "text"), repeated(100_000, ei.Some(300)),
		repeated(60_000, map[string]int{"a": 1000, "b": 2000, "c": 3000}), func() any {
			m := map[string]memLine{}
			for i := range 50_000 {
				m[fmt.Sprint("A-", i)] = memLine{"A", 1, 2}
			}
			return m
		}(),
	} {
		data := marshal(t, v)
		into := reflect.New(reflect.TypeOf(v))
		n := allocated(func() { require.NoError(t, ei.Unmarshal(data, into.Interface()), "%T", v) })
		t.Logf("%T: %d bytes, %.1f for each", v, len(data), float64(n)/float64(len(data)))
	}
	pair := ei.Tuple{ei.Int(1), ei.Int(2)} // a tree takes more, and is as large as Decode makes it
	data := marshal(t, repeated(300_000, pair))
	for _, v := range []any{new(any), new(ei.Term), new(ei.List), new(struct {
		T any `ei:"t"`
	})} {
		of := data
		if reflect.TypeOf(v).Elem().Kind() == reflect.Struct {
			of = append([]byte("\x83t\x00\x00\x00\x01w\x01t"), data[1:]...)
		}
		require.NoError(t, ei.Unmarshal(of, v))
		require.ErrorAs(t, ei.DecodeOptions{Limits: ei.Limits{Memory: 16 << 20}}.Unmarshal(ei.Raw(of), v), new(*ei.LimitError))
	}
	_, err := ei.DecodeOptions{Limits: ei.Limits{Memory: 64 << 20}}.Decode(data)
	require.NoError(t, err)
	_, err = ei.DecodeOptions{Limits: ei.Limits{Memory: 16 << 20}}.Decode(data)
	require.EqualError(t, err, "ei: over the limit Memory = 16777216 at offset 1")
}

func repeated[T any](n int, v T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// The error says where, and of what there was too much.
func TestMemoryErrors(t *testing.T) {
	needs64(t)
	type shop struct {
		Orders []memBig
		ByID   map[int]memBig `ei:"by_id"`
		First  *memBig
		Name   string
		Photo  []byte
		Raw    ei.Raw
		Extra  any
		Key    ei.Atom
		Sum    *big.Int
	}
	o := ei.DecodeOptions{Limits: ei.Limits{Memory: 1000}}
	long := strings.Repeat("x", 2000)
	for text, want := range map[string]string{
		`#{orders => [#{},#{}]}`:                         "ei: shop.orders: list of 1, each of 8008 bytes in Go: over the limit Memory = 1000",
		`#{by_id => #{1 => #{}}}`:                        "ei: shop.by_id: map #{1 => #{}}: over the limit Memory = 1000",
		`#{first => #{}}`:                                "ei: shop.first: map #{}: over the limit Memory = 1000",
		`#{name => <<"` + long + `">>}`:                  `ei: shop.name: binary <<"` + long[:57] + `…: over the limit Memory = 1000`,
		`#{photo => <<"` + long + `">>}`:                 `ei: shop.photo: binary <<"` + long[:57] + `…: over the limit Memory = 1000`,
		`#{photo => [<<"` + long + `">>]}`:               `ei: shop.photo: list [<<"` + long[:56] + `…: over the limit Memory = 1000`,
		`#{raw => <<"` + long + `">>}`:                   `ei: shop.raw: binary <<"` + long[:57] + `…: over the limit Memory = 1000`,
		`#{extra => [<<"` + long + `">>]}`:               `ei: shop.extra: list [<<"` + long[:56] + `…: over the limit Memory = 1000`,
		`#{sum => 16#` + strings.Repeat("f", 2000) + `}`: "",
	} {
		err := o.Unmarshal(ei.Raw(encoded(t, text)), new(shop))
		if want != "" {
			require.EqualError(t, err, want)
		}
		isMemory(t, err, 1000)
	}

	data := many(100_000, emptyMap) // the first ones get memory, the others do not
	err := ei.Raw(data).Unmarshal(new([]memBig))
	require.EqualError(t, err, "ei: list of 100000, each of 8008 bytes in Go: over the limit Memory = 16777216")
	err = ei.DecodeOptions{Limits: ei.Limits{Memory: -1}}.Unmarshal(ei.Raw(many(10_000, emptyMap)), new([]memBig))
	require.NoError(t, err)
}

// Several values take memory together.
func TestMemoryShared(t *testing.T) {
	needs64(t)
	data := many(100, emptyMap)
	const size = 100 * 8008
	o := ei.DecodeOptions{Limits: ei.Limits{Memory: 5 * size / 2}}.Shared(0, nil)
	var a, b, c []memBig
	require.NoError(t, o.Unmarshal(ei.Raw(data), &a))
	require.NoError(t, o.Unmarshal(ei.Raw(data), &b))
	isMemory(t, o.Unmarshal(ei.Raw(data), &c), 5*size/2)

	used, refusal := 0, errors.New("no more")
	grant := func(n int) error {
		if used += n; used > 3*size/2 {
			return refusal
		}
		return nil
	}
	o = ei.DecodeOptions{}.Shared(len(data), grant)
	require.NoError(t, o.Unmarshal(ei.Raw(data), &a))
	require.GreaterOrEqual(t, used, size)
	require.Less(t, used, size*6/5)
	err := o.Unmarshal(ei.Raw(data), &b)
	require.ErrorIs(t, err, refusal)
	require.EqualError(t, err, "ei: list of 100, each of 8008 bytes in Go: no more")
	require.ErrorIs(t, o.Unmarshal(ei.Raw(many(1<<20, emptyList)), new(any)), refusal) // trees, too
	_, err = o.Decode(append([]byte{ei.VersionMagic}, many(1<<20, emptyList)...))
	require.ErrorIs(t, err, refusal)

	require.NoError(t, ei.DecodeOptions{}.Shared(4<<20, nil).Unmarshal(ei.Raw(many(4000, emptyMap)), &a)) // 32 MB, of 40
	isMemory(t, ei.DecodeOptions{}.Shared(1<<20, nil).Unmarshal(ei.Raw(many(4000, emptyMap)), &a), 16<<20)
}
