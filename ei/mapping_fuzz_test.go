package ei_test

import (
	"bytes"
	"errors"
	"math/big"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// fuzzTypes are what FuzzUnmarshal reads into.
var fuzzTypes = []reflect.Type{
	reflect.TypeFor[any](), reflect.TypeFor[quote](), reflect.TypeFor[user](), reflect.TypeFor[props](), reflect.TypeFor[binKeys](),
	reflect.TypeFor[strKeys](),
	reflect.TypeFor[elixirStruct](), reflect.TypeFor[twice](), reflect.TypeFor[record](), reflect.TypeFor[textForms](),
	reflect.TypeFor[pairs](), reflect.TypeFor[shape](),
	reflect.TypeFor[rapidAll](), reflect.TypeFor[deepTree](), reflect.TypeFor[deepMixed](), reflect.TypeFor[deepResults](),
	reflect.TypeFor[selfSlice](), reflect.TypeFor[selfMap](),
	reflect.TypeFor[map[any]any](), reflect.TypeFor[map[anyKey][]any](), reflect.TypeFor[map[[2]float32]ei.Optional[any]](),
	reflect.TypeFor[[]ei.Result[*int8]](),
	reflect.TypeFor[[]string](), reflect.TypeFor[[3]uint16](), reflect.TypeFor[[]float64](), reflect.TypeFor[big.Int](),
	reflect.TypeFor[[]byte](), reflect.TypeFor[[4]byte](),
	reflect.TypeFor[ei.Raw](), reflect.TypeFor[[]ei.Term](), reflect.TypeFor[ei.Bitstring](), reflect.TypeFor[map[string]bool](),
	reflect.TypeFor[deepResult](), reflect.TypeFor[truth](),
	reflect.TypeFor[[]memBig](), reflect.TypeFor[map[int]*memBig](), reflect.TypeFor[[]memAny](), reflect.TypeFor[[]memOwn](),
	reflect.TypeFor[map[[17]int]string](),
}

// FuzzUnmarshal checks that no bytes make Unmarshal panic or take much memory, whatever they are to
// become, that its errors are of the types that it documents, and that what was read can be written
// and read again.
func FuzzUnmarshal(f *testing.F) {
	for i, data := range seeds(f) {
		f.Add(data, byte(i), byte(i/len(fuzzTypes)))
	}
	for i, typ := range fuzzTypes {
		v := reflect.New(typ)
		if data, err := ei.Marshal(v.Interface()); err == nil {
			f.Add(data, byte(i), byte(0))
		}
	}
	for _, text := range []string{
		`#{order_id => "A1",lines => [#{sku => <<"x">>,qty => 2,price => 1}],note => nil,tags => [],state => new}`, `{user,<<"Jo">>,42}`,
		`[flag,{name,<<"a">>},{n,1},{any,x}]`, `[{ok,1},ok,{error,x},error,{ok,undefined}]`, `[{circle,1.0},point,{square,2.0,{circle,3}}]`,
		`#{'__struct__' => 'Elixir.A',name => nil}`, `#{<<"a">> => #{<<"b">> => #{}}}`, `[[],[[],[[]]],[]]`,
		`#{name => <<"x">>,kids => [#{kids => []},#{}]}`,
	} {
		for i := range fuzzTypes {
			f.Add(encoded(f, text), byte(i), byte(i))
		}
	}
	for _, tt := range hostileValues {
		for i := range fuzzTypes {
			f.Add(append([]byte{ei.VersionMagic}, tt.term(1000)...), byte(i), byte(16))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind, options byte) {
		typ := fuzzTypes[int(kind)%len(fuzzTypes)]
		o := ei.DecodeOptions{RefuseUnknown: options&1 != 0, LenientText: options&2 != 0, AtomText: options&4 != 0, Alias: options&8 != 0,
			Limits: ei.Limits{Decompressed: 1 << 16}}
		size := len(data)
		if size > 1 && ei.Tag(data[1]) == ei.TagCompressed {
			size = 1 << 16
		}
		if o.Limits.Memory = -1; options&16 != 0 {
			o.Limits.Memory = 4096 + 10*size
		}
		var err error
		n := allocated(func() { err = o.Unmarshal(ei.Raw(bytes.Clone(data)), reflect.New(typ).Interface()) })
		if o.Limits.Memory < 0 {
			require.Less(t, n, 1<<20+int(max(64, typ.Size()))*8*size, "%v", typ)
		} else { // of any type; what is more is for a tree's keys, and for the error
			require.Less(t, n, 1<<18+2*o.Limits.Memory+48*size, "%v", typ)
			if errors.Is(err, ei.ErrLimit) {
				return
			}
			o.Limits.Memory = -1
		}
		if err != nil {
			require.True(t, typed(err), "%T: %v", err, err)
			return
		}
		_, err = throughGo(t, o, data, typ)
		require.NoError(t, err)
	})
}
