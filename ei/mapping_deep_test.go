package ei_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

type (
	deepStruct struct{ Next *deepStruct }
	deepTuple  struct {
		_    struct{} `ei:"tuple"`
		Next *deepTuple
	}
	deepProps struct {
		_    struct{} `ei:"proplist"`
		Next *deepProps
	}
	deepArray     [1]*deepArray
	deepResult    *ei.Result[deepResult]
	deepResults   []ei.Result[deepResults]
	deepOptional  struct{ Next ei.Optional[*deepOptional] }
	deepTupleList struct {
		Next []deepTupleList `ei:",tuple"`
	}
	deepTree struct {
		Name string
		Kids []deepTree
	}
	deepAny   interface{ isDeep() }
	deepChain struct {
		_    struct{} `ei:"tuple=chain"`
		Next deepAny
	}
	deepEnd struct {
		_ struct{} `ei:"atom=end"`
	}
	deepMixed struct {
		A [1]map[string]ei.Result[[]*deepMixed]
	}
	holdsArray struct{ A [1]*holdsArray }
)

func (deepChain) isDeep() {}
func (deepEnd) isDeep()   {}

func init() { ei.RegisterVariants[deepAny](deepChain{}, deepEnd{}) }

// Values that contain values of their own type are as deep as memory allows, both ways.
func TestDeepMapping(t *testing.T) {
	for _, tt := range []struct {
		name              string
		open, inner, tail string
		into              any
	}{
		{"slices", "l\x00\x00\x00\x01", "j", "j", new(selfSlice)},
		{"maps", "t\x00\x00\x00\x01m\x00\x00\x00\x01a", "t\x00\x00\x00\x00", "", new(selfMap)},
		{"structs", "t\x00\x00\x00\x01w\x04next", "w\x09undefined", "", new(*deepStruct)},
		{"tuples", "h\x01", "w\x09undefined", "", new(*deepTuple)},
		{"property lists", "l\x00\x00\x00\x01h\x02w\x04next", "w\x09undefined", "j", new(*deepProps)},
		{"arrays", "l\x00\x00\x00\x01", "w\x09undefined", "j", new(*deepArray)},
		{"results", "h\x02w\x02ok", "w\x09undefined", "", new(deepResult)},
		{"lists of results", "l\x00\x00\x00\x01h\x02w\x02ok", "j", "j", new(deepResults)},
		{"optionals", "t\x00\x00\x00\x01w\x04next", "w\x09undefined", "", new(ei.Optional[*deepOptional])},
		{"lists as tuples", "t\x00\x00\x00\x01w\x04nexth\x01", "t\x00\x00\x00\x01w\x04nexth\x00", "", new(deepTupleList)},
		{"trees", "t\x00\x00\x00\x02w\x04kidsl\x00\x00\x00\x01", "t\x00\x00\x00\x02w\x04kidsjw\x04namem\x00\x00\x00\x00",
			"jw\x04namem\x00\x00\x00\x00", new(deepTree)},
		{"variants", "h\x02w\x05chain", "w\x03end", "", new(deepAny)},
		{"mixed", "t\x00\x00\x00\x01w\x01al\x00\x00\x00\x01t\x00\x00\x00\x01m\x00\x00\x00\x00h\x02w\x02okl\x00\x00\x00\x01", "w\x09undefined",
			"jj", new(*deepMixed)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			deep := deep / 4
			if tt.name == "mixed" {
				deep /= 3
			}
			data := nest(tt.open, tt.inner, tt.tail, deep)
			if err := ei.Raw(data).Unmarshal(reflect.New(reflect.TypeOf(tt.into).Elem()).Interface()); err != nil { // each level takes memory, too
				isMemory(t, err, max(16<<20, 10*len(data)))
			}
			free := ei.DecodeOptions{Limits: ei.Limits{Memory: -1}}
			n := allocated(func() { require.NoError(t, free.Unmarshal(ei.Raw(data), tt.into)) })
			require.Less(t, n, 160*len(data), "%d for each byte", n/len(data))
			var again []byte
			var err error
			n = allocated(func() { again, err = ei.Append(nil, pointee(tt.into)) })
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, again), "it is not what it was")
			require.Less(t, n, 128*len(data), "%d for each byte", n/len(data))

			bad := nest(tt.open, "x", tt.tail, deep) // a tag that does not fit
			err = ei.Raw(bad).Unmarshal(typedPointer(pointee(tt.into)))
			require.Error(t, err)
			require.Less(t, len(err.Error()), 1000)
			require.Error(t, ei.Raw(nest(tt.open, "F\x3f\xf8\x00\x00\x00\x00\x00\x00", tt.tail, deep)).Unmarshal(typedPointer(pointee(tt.into))))
		})
	}
}

// Heads that announce many elements, each within the last, take no more than what they hold.
func TestDeepAnnounced(t *testing.T) {
	many := "\x00\x00\x0f\xff"
	for _, tt := range []struct {
		name, open string
		into       any
	}{
		{"slices", "l" + many, new(selfSlice)},
		{"maps", "t" + many + "m\x00\x00\x00\x01a", new(selfMap)},
		{"trees", "t\x00\x00\x00\x01w\x04kidsl" + many, new(deepTree)},
		{"tuples", "t\x00\x00\x00\x01w\x04nexti" + many, new(deepTupleList)},
		{"results", "l" + many + "h\x02w\x02ok", new(deepResults)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := strings.Repeat(tt.open, deep/20)
			n := allocated(func() { require.Error(t, ei.Raw(data).Unmarshal(tt.into)) })
			require.Less(t, n, 1<<18+128*len(data), "%d for each byte", n/len(data))
		})
	}
}

// What contains itself is found, whatever it is made of and whatever it stands in.
func TestCyclicValues(t *testing.T) {
	next := &deepStruct{}
	next.Next = next
	array := &deepArray{}
	array[0] = array
	held := &holdsArray{}
	held.A[0] = held
	result := new(ei.Result[deepResult])
	result.Value = deepResult(result)
	optional := &deepOptional{}
	optional.Next = ei.Some(optional)
	slice := selfSlice{nil}
	slice[0] = slice
	results := deepResults{{}}
	results[0].Value = results
	m := selfMap{}
	m["a"] = m
	variants := &struct {
		_    struct{} `ei:"tuple"`
		A, B any
	}{}
	variants.A, variants.B = 1, []any{variants}
	var inArray, inStruct, inResult, inOptional, inPointer any
	inArray = [1]any{&inArray}
	inStruct = struct{ A any }{&inStruct}
	inResult = ei.Result[any]{Value: &inResult}
	inOptional = ei.Some[any](&inOptional)
	inPointer = &inPointer
	mixed := &deepMixed{}
	mixed.A[0] = map[string]ei.Result[[]*deepMixed]{"a": {Value: []*deepMixed{mixed}}}
	for name, v := range map[string]any{
		"struct": next, "array": array, "struct and array": held, "result": result, "optional": optional, "slice": slice,
		"slice of results": results,
		"map":              m, "any": variants, "any in array": inArray, "any in struct": inStruct, "any in result": inResult,
		"any in optional": inOptional,
		"any in pointer":  inPointer, "mixed": mixed,
	} {
		for range 6 { // at each place of the round
			_, err := ei.Append(nil, v)
			require.ErrorIs(t, err, ei.ErrCyclic, name)
			v = []any{v}
		}
		_, err := ei.Append(nil, struct{ A any }{ei.Result[any]{Value: [1]any{v}}})
		require.ErrorIs(t, err, ei.ErrCyclic, name)
	}

	// what only stands there many times does not contain itself
	shared := &deepStruct{}
	list := make([]*deepStruct, 10_000)
	for i := range list {
		list[i] = shared
	}
	_ = appended(t, list)
	// a slice that holds a shorter one of itself does not either
	parts := make([]any, 1000)
	parts[0] = 1
	for i := 1; i < len(parts); i++ {
		parts[i] = parts[:i:i][max(0, i-1):]
	}
	_ = appended(t, parts)
}
