package ei_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// wide is a type of a struct of n fields with a tag of its own.
func wide(n int, whole string) reflect.Type {
	fields := []reflect.StructField{{Name: "_", PkgPath: "ei_test", Type: reflect.TypeFor[struct{}](),
		Tag: reflect.StructTag(`ei:"` + whole + `"`)}}
	for i := range n {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[int]()})
	}
	return reflect.StructOf(fields)
}

// Structs of many fields, around the sizes at which something changes.
func TestWideStructs(t *testing.T) {
	for _, whole := range []string{"", "tuple", "tuple=t", "proplist", "keys=binary", "keys=string"} {
		for _, n := range []int{1, 63, 64, 65, 128, 129, 254, 255, 256, 300} {
			v := reflect.New(wide(n, whole))
			for i := range n {
				v.Elem().Field(i + 1).SetInt(int64(i))
			}
			data := marshal(t, v.Interface())
			got, err := readInto(t, ei.DecodeOptions{RefuseUnknown: true}, data, v.Type().Elem())
			require.NoError(t, err)
			require.Equal(t, v.Elem().Interface(), got)

			term := decode(t, data)
			m, ok := term.(ei.Map)
			if !ok {
				continue
			}
			for i := range m { // in any order, and each key twice
				pair := m[len(m)-1]
				copy(m[1:], m)
				m[0] = pair
				if i%16 != 0 {
					continue
				}
				back := reflect.New(v.Type().Elem())
				require.NoError(t, ei.UnmarshalTerm(m, back.Interface()))
				require.Equal(t, v.Elem().Interface(), back.Elem().Interface())
				b := ei.AppendMapHeader(nil, n+1)
				for _, pair := range append(m, m[i]) {
					b, err = ei.AppendTerm(b, pair.Key)
					require.NoError(t, err)
					b, err = ei.AppendTerm(b, pair.Value)
					require.NoError(t, err)
				}
				require.ErrorIs(t, ei.Raw(b).Unmarshal(back.Interface()), ei.ErrDuplicate)
			}
		}
	}
}

type (
	hiddenParts struct {
		T ei.Term
		R ei.Raw
		P ei.Pid
		D degrees
		O ei.Optional[int]
		S shape
		B [2]byte
		M map[string]int
		E ei.Result[int]
	}
	hides  struct{ hiddenParts }
	empty1 struct {
		_ struct{} `ei:"tuple=empty"`
	}
	empty0 struct {
		_ struct{} `ei:"tuple"`
	}
)

// The exported fields of an embedded struct that is not exported itself are as any others.
func TestHiddenParts(t *testing.T) {
	v := hides{hiddenParts{ei.Tuple{}, ei.Raw("j"), ei.Pid{Node: "a@b"}, 5, ei.Some(1), point{}, [2]byte{1, 2}, map[string]int{"a": 1},
		ei.Result[int]{Value: 2}}}
	data := marshal(t, v)
	var got hides
	require.NoError(t, ei.Unmarshal(data, &got))
	require.Equal(t, v, got)
}

func TestEmptyTuples(t *testing.T) {
	for text, v := range map[string]any{"{empty}": empty1{}, "{}": empty0{}} {
		require.Equal(t, text, textOf(t, v))
		got, err := readInto(t, ei.DecodeOptions{}, encoded(t, text), typeOf(v))
		require.NoError(t, err)
		require.Equal(t, v, got)
		_, err = readInto(t, ei.DecodeOptions{}, encoded(t, "{x}"), typeOf(v))
		require.ErrorIs(t, err, ei.ErrType)
	}
	for _, n := range []int{0, 255, 256, 70_000} {
		v := struct {
			A []uint16 `ei:",tuple"`
			B []byte   `ei:",tuple"`
		}{make([]uint16, n), make([]byte, n)}
		data := marshal(t, v)
		got, err := readInto(t, ei.DecodeOptions{}, data, typeOf(v))
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
}

type (
	faulty1 interface{ isFaulty1() }
	faulty2 interface{ isFaulty2() }
	faulty3 interface{ isFaulty3() }
	plain   struct{ A int }
	same1   struct {
		_ struct{} `ei:"tuple=same"`
		A int
	}
	same2 struct {
		_ struct{} `ei:"atom=same"`
	}
)

func (plain) isFaulty1() {}
func (same1) isFaulty2() {}
func (same2) isFaulty2() {}

// What is wrong with variants is told to whoever unmarshals one.
func TestVariantFaults(t *testing.T) {
	ei.RegisterVariants[faulty1](plain{})
	ei.RegisterVariants[faulty2](same1{}, same2{})
	ei.RegisterVariants[faulty3](nil)
	for _, v := range []any{new(faulty1), new(faulty2), new(faulty3)} {
		require.ErrorAs(t, ei.Unmarshal(encoded(t, "same"), v), new(*ei.MappingError), "%T", v)
	}
}
