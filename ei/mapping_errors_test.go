package ei_test

import (
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func errorsIs(err, target error) bool { return errors.Is(err, target) }

type (
	selfPointer  *selfPointer
	selfOptional *ei.Optional[selfOptional]
	selfSlice    []selfSlice
	selfMap      map[string]selfMap
	embedsItself struct {
		*embedsItself
		A int
	}
	EmbedsItself struct {
		*EmbedsItself
		A int
	}
	Stamped  struct{ time.Time }
	Left     struct{ Same int }
	Right    struct{ Same int }
	onlyHere struct{ a, b int }
	// hasChan can only encode itself, and read itself.
	hasChan struct{ C chan int }
	truth   interface{ isTruth() }
	isTrue  struct {
		_ struct{} `ei:"atom=true"`
	}
	anyKey struct{ A any }
	nobody interface{ nobody() }
)

func (hasChan) AppendTerm(b []byte) ([]byte, error) { return ei.AppendNil(b), nil }
func (*hasChan) ReadTerm(c *ei.Cursor) error        { return c.Nil() }
func (isTrue) isTruth()                             {}

func init() { ei.RegisterVariants[truth](isTrue{}) }

// Types that have no mapping are told at the first use, both ways, by the field that is at fault.
func TestMappingErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value any
		field string
		want  string // a part of the error
	}{
		{"channel", struct{ A chan int }{}, "A", "chan int"},
		{"func", struct{ F func() }{}, "F", "func()"},
		{"complex", struct{ C complex128 }{}, "C", "complex128"},
		{"channel in a slice", struct{ A []chan int }{}, "A", "chan int"},
		{"channel as a key", struct{ A map[chan int]int }{}, "A", "chan int"},
		{"channel in an Optional", struct{ A ei.Optional[chan int] }{}, "A", "chan int"},
		{"channel in a Result", struct{ A ei.Result[chan int] }{}, "A", "chan int"},
		{"channel in a struct within", struct{ A []struct{ B chan int } }{}, "B", "chan int"},
		{"two fields of one key", struct {
			A int `ei:"x"`
			B int `ei:"x"`
		}{}, "x", "two fields"},
		{"two names in one case", struct{ OrderID, OrderId int }{}, "order_id", "two fields"},
		{"embedded twice", struct {
			Left
			Right
		}{}, "same", "two fields"},
		{"embedded time", struct {
			time.Time
			A int
		}{}, "Time", "take DateTime, NaiveDateTime, Date or Time of package ei/elixir"},
		{"embedded pointer to a rational", struct {
			*big.Rat
			A int
		}{}, "Rat", "Decimal"},
		{"embedded address", struct {
			netip.Addr
			A int
		}{}, "Addr", "netip.Addr: it has no exported field"},
		{"embedded twice deep", struct {
			Stamped
			A int
		}{}, "Time", "DateTime"},
		{"embedded counter", struct {
			atomic.Int64
			A int
		}{}, "Int64", "no exported field"},
		{"time", struct{ At time.Time }{}, "At", "DateTime"},
		{"duration", struct{ Timeout time.Duration }{}, "Timeout", "ms"},
		{"durations", struct{ Timeouts []time.Duration }{}, "Timeouts", "ms"},
		{"embedded duration", struct{ time.Duration }{}, "Duration", "ms"},
		{"unit of a number", struct {
			A int `ei:",ms"`
		}{}, "A", "only a time.Duration"},
		{"key with a unit", struct {
			A map[time.Duration]int `ei:",ms"`
		}{}, "A", "no unit"},
		{"unexported, tagged", struct {
			a int `ei:"a"`
		}{}, "a", "not exported"},
		{"unexported, with an option", struct {
			a int `ei:",omitempty"`
			B int
		}{}, "a", "not exported"},
		{"unknown option", struct {
			A int `ei:",omitEmpty"`
		}{}, "A", `"omitEmpty"`},
		{"unknown option of a struct", struct {
			_ struct{} `ei:"record=a"`
			A int
		}{}, "_", `"record=a"`},
		{"keys of another kind", struct {
			_ struct{} `ei:"keys=integer"`
			A int
		}{}, "_", "keys=integer"},
		{"key of an option for fields", struct {
			_ struct{} `ei:"omitempty"`
			A int
		}{}, "_", "omitempty"},
		{"struct as tuple", struct {
			_ struct{} `ei:"tuple=a,struct=Elixir.A"`
			A int
		}{}, "_", "struct of Elixir"},
		{"struct with binary keys", struct {
			_ struct{} `ei:"struct=Elixir.A,keys=binary"`
			A int
		}{}, "_", "struct of Elixir"},
		{"struct without a name", struct {
			_ struct{} `ei:"struct"`
			A int
		}{}, "_", `"struct"`},
		{"name of a struct as a key", struct {
			_ struct{} `ei:"struct=Elixir.A"`
			A ei.Atom  `ei:"__struct__"`
		}{}, "__struct__", "already"},
		{"tag too long", longTag(), "_", "no atom"},
		{"key too long", longKey(), strings.Repeat("k", 256), "atom"},
		{"atom with fields", struct {
			_ struct{} `ei:"atom=a"`
			A int
		}{}, "", "no fields"},
		{"omitempty in a tuple", struct {
			_ struct{} `ei:"tuple"`
			A int      `ei:",omitempty"`
		}{}, "a", "left out"},
		{"embedded pointer in a tuple", struct {
			_ struct{} `ei:"tuple"`
			*Left
		}{}, "same", "tuple"},
		{"embedded pointer, not exported", struct {
			*onlyHere
			A int
		}{}, "onlyHere", "cannot be set"},
		{"embeds itself", *(embedsItself{&embedsItself{}, 1}).embedsItself, "embedsItself", "not exported"},
		{"embeds itself, exported", EmbedsItself{}, "EmbedsItself", "in itself"},
		{"atom of a number", struct {
			A int `ei:",atom"`
		}{}, "A", "text"},
		{"charlist of bytes", struct {
			A []byte `ei:",charlist"`
		}{}, "A", "text"},
		{"binary of a bool", struct {
			A []bool `ei:",binary"`
		}{}, "A", "text"},
		{"tuple of a number", struct {
			A int `ei:",tuple"`
		}{}, "A", "tuple"},
		{"tuple of a map", struct {
			A map[int]int `ei:",tuple"`
		}{}, "A", "tuple"},
		{"text of what contains itself", struct {
			A selfSlice `ei:",atom"`
		}{}, "A", "text"},
		{"text of a map of itself", struct {
			A selfMap `ei:",charlist"`
		}{}, "A", "text"},
		{"tuple of a pointer to itself", struct {
			A selfPointer `ei:",tuple"`
		}{}, "A", "tuple"},
		{"nothing exported", onlyHere{a: 1, b: 2}, "", "no exported field"},
		{"nothing exported, within", struct{ A []onlyHere }{}, "A", "no exported field"},
		{"pointer to itself", selfPointer(nil), "", "pointer to itself"},
		{"optional itself", selfOptional(nil), "", "pointer to itself"},
		{"after one that encodes itself", struct {
			A hasChan
			B chan int
		}{}, "B", "chan int"},
		{"pointer, after one that encodes itself", struct {
			A hasChan
			B []*chan int
		}{}, "B", "chan int"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				_, marshalErr := ei.Append(nil, tt.value)
				err := ei.Unmarshal([]byte("\x83j"), typedPointer(tt.value))
				for _, err := range []error{marshalErr, err} {
					if tt.name == "pointer to itself" || tt.name == "optional itself" {
						if err == marshalErr { // the type alone may say no more
							require.Error(t, err)
							continue
						}
					}
					var mapping *ei.MappingError
					require.ErrorAs(t, err, &mapping)
					require.Equal(t, tt.field, mapping.Field)
					require.Contains(t, mapping.Error(), tt.want)
					require.NotNil(t, mapping.Type)
				}
			}
		})
	}
	for _, v := range []any{time.Second, []any{time.Second}, map[string]time.Duration{}} {
		_, err := ei.Append(nil, v)
		require.ErrorContains(t, err, `tag its field with ei:",ms"`)
	}
	for _, v := range []any{make(chan int), func() {}, complex(1, 1)} {
		_, err := ei.Append(nil, v)
		var mapping *ei.MappingError
		require.ErrorAs(t, err, &mapping)
		require.ErrorAs(t, ei.Unmarshal([]byte("\x83j"), typedPointer(v)), &mapping)
	}
	var mapping *ei.MappingError
	require.ErrorAs(t, ei.Unmarshal([]byte("\x83j"), new(nobody)), &mapping)
	require.ErrorAs(t, ei.Unmarshal([]byte("\x83j"), new(error)), &mapping)
	require.ErrorAs(t, ei.Unmarshal([]byte("\x83l\x00\x00\x00\x01jj"), new([]nobody)), &mapping)
}

func longKey() any {
	return structOf(reflect.StructField{
		Name: "A", Type: reflect.TypeFor[int](), Tag: reflect.StructTag(`ei:"` + strings.Repeat("k", 256) + `"`),
	})
}

func longTag() any {
	return structOf(reflect.StructField{
		Name: "_", PkgPath: "ei_test", Type: reflect.TypeFor[struct{}](),
		Tag: reflect.StructTag(`ei:"tuple=` + strings.Repeat("a", 256) + `"`),
	}, reflect.StructField{Name: "A", Type: reflect.TypeFor[int]()})
}

func structOf(fields ...reflect.StructField) any {
	return reflect.New(reflect.StructOf(fields)).Elem().Interface()
}

// What has methods of its own keeps them where the type could not be mapped.
func TestCustomUnmappable(t *testing.T) {
	type both struct {
		A hasChan
		B *hasChan
		C []hasChan
	}
	b := appended(t, both{C: []hasChan{{}}})
	require.Equal(t, "#{a => [],b => undefined,c => [[]]}", ei.Raw(b).String())
	var v both
	require.NoError(t, ei.Raw(b).Unmarshal(&v))
	require.Equal(t, both{C: []hasChan{{}}}, v)
}

// A key that Go cannot hash is refused, however deep the interface in it.
func TestUnhashableKeys(t *testing.T) {
	for _, tt := range []struct {
		text string
		v    any
	}{
		{"#{{} => 1}", new(map[any]int)},
		{"#{#{a => {}} => 1}", new(map[anyKey]int)},
		{"#{[{}] => 1}", new(map[[1]any]int)},
		{"#{{} => 1}", new(map[ei.Optional[any]]int)},
		{"#{{ok,{}} => 1}", new(map[ei.Result[any]]int)},
		{"#{[#{a => #{}}] => 1}", new(map[[1]anyKey]int)},
	} {
		require.ErrorIs(t, ei.Unmarshal(encoded(t, tt.text), tt.v), ei.ErrType, "%T", tt.v)
	}
	m := map[anyKey]int{}
	require.NoError(t, ei.Unmarshal(encoded(t, "#{#{} => 1,#{a => x} => 2}"), &m))
	require.Equal(t, map[anyKey]int{{}: 1, {ei.Atom("x")}: 2}, m)
}

func TestLocalIntoNothing(t *testing.T) {
	var mapping *ei.MappingError
	for _, v := range []any{nil, (*any)(nil), (*ei.Term)(nil), (*ei.Local)(nil), 5, ei.Local("x")} {
		require.ErrorAs(t, ei.Unmarshal([]byte("\x83yabc"), v), &mapping, "%T", v)
		require.ErrorAs(t, ei.UnmarshalTerm(ei.Local("abc"), v), &mapping, "%T", v)
	}
}

// A bare atom in a property list is true, also where a variant is due that is the atom true.
func TestBareAtomIsVariant(t *testing.T) {
	var v struct {
		_ struct{} `ei:"proplist"`
		A truth
		B int
	}
	require.NoError(t, ei.Unmarshal(encoded(t, "[a,{b,3}]"), &v))
	require.Equal(t, isTrue{}, v.A)
	require.Equal(t, 3, v.B)
}

func TestBitBinaryOfWholeBytes(t *testing.T) {
	const data = "M\x00\x00\x00\x02\x08ab"
	var two [2]byte
	require.NoError(t, ei.Raw(data).Unmarshal(&two))
	require.Equal(t, [2]byte{'a', 'b'}, two)
	var three [3]byte
	var located *ei.UnmarshalError
	require.ErrorAs(t, ei.Raw(data).Unmarshal(&three), &located)
	require.ErrorIs(t, located, ei.ErrType)
	require.Zero(t, located.Offset)
}

// Paths of errors, and offsets that lead to the term in the input.
func TestUnmarshalErrorPath(t *testing.T) {
	for _, tt := range []struct {
		text string
		into any
		path string
		at   string // text of the term at the offset
	}{
		{"a", 0, "", "a"},
		{"[1,a]", []int{}, "[1]", "a"},
		{"#{order_id => 1}", quote{}, "quote.order_id", "1"},
		{"#{lines => [#{},#{qty => x}]}", quote{}, "quote.lines[1].qty", "x"},
		{`#{<<"k">> => [1,x]}`, map[string][]int{}, `[<<"k">>][1]`, "x"},
		{"#{a => #{b => x}}", map[ei.Atom]map[ei.Atom]int{}, "[a][b]", "x"},
		{"#{x => 1}", map[int]int{}, "[key 0]", "x"},
		{"{user,<<>>,300}", user{}, "user.age", "300"},
		{"{1,{2,x}}", node{}, "node.next.next", "x"},
		{"{ok,x}", ei.Result[int]{}, "", "x"},
		{"[{ok,1},{ok,x}]", []ei.Result[int]{}, "[1]", "x"},
		{"[[1],[2,x]]", [2][]int{}, "[1][1]", "x"},
		{"#{a => x}", struct{ A int }{}, "a", "x"},
		{"#{a => [x]}", struct{ A []int }{}, "a[0]", "x"},
		{"#{'__struct__' => b}", elixirStruct{}, "elixir_struct", "b"},
		{"[{flag,1}]", props{}, "props.flag", "1"},
	} {
		data := encoded(t, tt.text)
		var located *ei.UnmarshalError
		require.ErrorAs(t, ei.Unmarshal(data, typedPointer(tt.into)), &located, tt.text)
		require.Equal(t, tt.path, located.Path, tt.text)
		c := ei.NewCursor(data[located.Offset:])
		raw, err := c.Raw()
		require.NoError(t, err)
		require.Equal(t, tt.at, raw.String(), tt.text)
		require.Contains(t, located.Got, tt.at)
		if tt.path != "" {
			require.True(t, strings.HasPrefix(located.Error(), "ei: "+tt.path+": "), located.Error())
		}
	}
	// long ones are cut
	deepPath := nest("l\x00\x00\x00\x01", "a\x01", "j", 10_000)
	err := ei.Raw(deepPath).Unmarshal(new(selfSlice))
	require.ErrorIs(t, err, ei.ErrType)
	require.Less(t, len(err.Error()), 1000)
	err = ei.Unmarshal(encoded(t, `<<"`+strings.Repeat("x", 100_000)+`">>`), new(int))
	require.Less(t, len(err.Error()), 300)
	err = ei.Unmarshal(encoded(t, `#{<<"`+strings.Repeat("x", 100_000)+`">> => a}`), new(map[string]int))
	require.Less(t, len(err.Error()), 300)
}

func TestMarshalRefusesWithin(t *testing.T) {
	for _, tt := range []struct {
		value any
		is    error
		want  string
	}{
		{struct{ A []float64 }{[]float64{1, math.NaN()}}, ei.ErrFloat, "/a/1"},
		{struct {
			A string `ei:",atom"`
		}{strings.Repeat("x", 256)}, ei.ErrAtom, "/a"},
		{struct {
			A map[string]string `ei:",atom"`
		}{map[string]string{"k": "\xff"}}, ei.ErrAtom, "/a/k"},
		{map[any]int{1: 1, int8(1): 2}, ei.ErrDuplicate, ""},
		{map[*int]int{ptr(1): 1, ptr(1): 2}, ei.ErrDuplicate, ""},
		{struct{ A *ei.Local }{ptr(ei.Local("x"))}, ei.ErrLocal, "/a"},
		{[]ei.Local{ei.Local("x")}, ei.ErrLocal, "/0"},
		{ei.Some(ei.Local("x")), nil, ""},
		{struct{ A ei.Raw }{}, ei.ErrTruncated, "/a"},
		{struct{ A ei.Raw }{ei.Raw("\x83a\x01")}, ei.ErrTag, "/a"},
		{ei.Result[celsius]{Value: -300}, errTooCold, ""},
		{ei.Result[int]{Err: &ei.ReasonError{Reason: ei.Atom("\xff")}}, ei.ErrAtom, ""},
	} {
		_, err := ei.Append(nil, tt.value)
		if tt.is == nil {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, tt.is, "%#v", tt.value)
		require.Contains(t, err.Error(), tt.want)
	}
}
