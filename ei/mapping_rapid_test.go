package ei_test

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/terms"
)

type (
	rapidLeaf struct {
		Flag  bool
		Small int8
		Big   int64
		Word  uint16
		Wide  uint64
		Float float64
		Text  string
		Name  ei.Atom
		Data  [3]byte
		Pid   ei.Pid
	}
	rapidTuple struct {
		_     struct{} `ei:"tuple=rapid"`
		Leaf  rapidLeaf
		Chars string `ei:",charlist"`
		Form  string `ei:",atom"`
		Pair  [2]int `ei:",tuple"`
	}
	rapidProps struct {
		_    struct{} `ei:"proplist,nil"`
		Flag bool
		Opt  ei.Optional[int32]
		Note *string `ei:",omitempty"`
		Kids []rapidProps
	}
	rapidAll struct {
		rapidLeaf
		_        struct{} `ei:"struct=Elixir.Rapid"`
		Tuples   []rapidTuple
		ByName   map[string]rapidProps
		ByNumber map[int16]*rapidTuple
		ByPair   map[[2]uint8]ei.Atom
		Result   ei.Result[[]int]
		Done     ei.Result[struct{}]
		Next     *rapidAll
		Huge     *big.Int
		Shapes   []shape
		Bytes    []byte
		Float32  float32
		Term     any
		ByKey    map[anyKey]ei.BinaryKey
		ByTerm   map[ei.Term]int8
		Wait     time.Duration            `ei:",s"`
		Waits    map[string]time.Duration `ei:",ms"`
	}
)

const infinite = time.Duration(math.MaxInt64)

// genKey makes what is the key of a Go map, as an interface holds it.
func genKey[K any](t *rapid.T, bytes func(string) K) K {
	switch rapid.IntRange(0, 3).Draw(t, "key") {
	case 0:
		return any(terms.Atom().Draw(t, "atom")).(K)
	case 1:
		return any(ei.Int(rapid.Int64().Draw(t, "int"))).(K)
	case 2:
		return any(terms.Pid().Draw(t, "pid")).(K)
	}
	return bytes(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
}

// genValue makes values of a Go type that is made of what Unmarshal gives back as it was.
func genValue(t *rapid.T, v reflect.Value, depth int) {
	switch to := v.Addr().Interface().(type) {
	case *ei.Atom:
		*to = terms.Atom().Draw(t, "atom")
		return
	case *ei.Pid:
		*to = terms.Pid().Draw(t, "pid")
		return
	case **big.Int:
		if rapid.Bool().Draw(t, "there") {
			*to = new(big.Int).SetBytes(append([]byte{1}, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "big")...))
		}
		return
	case *any:
		*to = terms.Of(1).Draw(t, "term")
		return
	case *anyKey:
		*to = anyKey{genKey(t, func(b string) any { return b })}
		return
	case *ei.Term:
		*to = genKey(t, func(b string) ei.Term { return ei.BinaryKey(b) })
		return
	case *time.Duration:
		*to = infinite
		if rapid.Bool().Draw(t, "finite") {
			*to = time.Duration(rapid.Int32().Draw(t, "seconds")) * time.Second
		}
		return
	case *error:
		if rapid.Bool().Draw(t, "failed") {
			*to = &ei.ReasonError{Reason: terms.Of(1).Draw(t, "reason")}
		}
		return
	case *shape:
		switch rapid.IntRange(0, 2).Draw(t, "shape") {
		case 0:
			*to = circle{R: float64(rapid.Int32().Draw(t, "radius"))}
		case 1:
			*to = point{}
		default:
			s := &square{Side: 1, In: point{}}
			if depth > 0 {
				genValue(t, reflect.ValueOf(&s.In).Elem(), depth-1)
			}
			*to = s
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int") >> (64 - v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
	case reflect.Float32, reflect.Float64:
		finite := func(f float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }
		v.SetFloat(float64(rapid.Float32().Filter(finite).Draw(t, "float")))
	case reflect.String:
		v.SetString(rapid.StringN(0, 20, -1).Draw(t, "text"))
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		if depth <= 0 {
			n = 0
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			genValue(t, v.Index(i), depth-1)
		}
	case reflect.Array:
		for i := range v.Len() {
			genValue(t, v.Index(i), depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if depth <= 0 {
			return
		}
		for range rapid.IntRange(0, 3).Draw(t, "size") {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			genValue(t, key, depth-1)
			genValue(t, value, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		if depth > 0 && rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			genValue(t, v.Elem(), depth-1)
		}
	case reflect.Struct:
		if v.NumField() == 2 && v.Type().Field(1).Name == "Valid" && !rapid.Bool().Draw(t, "valid") {
			return
		}
		failed := false
		for i := v.NumField() - 1; i >= 0; i-- {
			f := v.Type().Field(i)
			switch {
			case f.Name == "_", f.Name == "Value" && failed:
			case f.Name == "Valid":
				v.Field(i).SetBool(true)
			case f.Anonymous:
				for j := range f.Type.NumField() {
					genValue(t, v.Field(i).Field(j), depth-1)
				}
			default:
				genValue(t, v.Field(i), depth-1)
				failed = f.Name == "Err" && !v.Field(i).IsNil()
			}
		}
	}
}

// Values come back as they were, from a tree of terms, too.
func TestMappingRoundTrip(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[rapidLeaf](), reflect.TypeFor[rapidTuple](), reflect.TypeFor[rapidProps](), reflect.TypeFor[rapidAll](),
		reflect.TypeFor[map[string]map[int8][]ei.Optional[float32]](), reflect.TypeFor[[]ei.Result[map[ei.Atom]*rapidTuple]](),
		reflect.TypeFor[map[anyKey]map[[2]ei.Term]bool](),
	} {
		t.Run(typ.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(typ)
				genValue(t, v.Elem(), 4)
				data := marshal(t, v.Interface())
				back := reflect.New(typ)
				require.NoError(t, ei.DecodeOptions{RefuseUnknown: true}.Unmarshal(ei.Raw(data), back.Interface()))
				require.Equal(t, v.Interface(), back.Interface())
				term := decode(t, data)
				back = reflect.New(typ)
				require.NoError(t, ei.UnmarshalTerm(term, back.Interface()))
				require.Equal(t, v.Interface(), back.Interface())
				again := marshal(t, back.Elem().Interface())
				require.Equal(t, data, again)
			})
		})
	}
}

// genType makes a type, mostly one with a mapping.
func genType(t *rapid.T, depth int) reflect.Type {
	leaves := []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](),
		reflect.TypeFor[float64](),
		reflect.TypeFor[string](), reflect.TypeFor[ei.Atom](), reflect.TypeFor[[]byte](), reflect.TypeFor[any](), reflect.TypeFor[ei.Term](),
		reflect.TypeFor[ei.Raw](),
		reflect.TypeFor[ei.Pid](), reflect.TypeFor[ei.Tuple](), reflect.TypeFor[ei.Map](), reflect.TypeFor[ei.List](),
		reflect.TypeFor[*big.Int](), reflect.TypeFor[big.Int](),
		reflect.TypeFor[ei.Optional[any]](), reflect.TypeFor[ei.Result[any]](), reflect.TypeFor[ei.Optional[int]](),
		reflect.TypeFor[ei.Result[string]](),
		reflect.TypeFor[shape](), reflect.TypeFor[props](), reflect.TypeFor[record](), reflect.TypeFor[[3]byte](), reflect.TypeFor[ei.Binary](),
		reflect.TypeFor[ei.Bitstring](), reflect.TypeFor[selfSlice](), reflect.TypeFor[selfMap](), reflect.TypeFor[deepResult](),
		reflect.TypeFor[hasChan](), reflect.TypeFor[anyKey](),
		reflect.TypeFor[chan int](), reflect.TypeFor[func()](), reflect.TypeFor[time.Duration](), reflect.TypeFor[ei.BinaryKey](),
	}
	if depth <= 0 {
		return leaves[rapid.IntRange(0, len(leaves)-1).Draw(t, "leaf")]
	}
	switch rapid.IntRange(0, 7).Draw(t, "type") {
	case 0, 1:
		return reflect.SliceOf(genType(t, depth-1))
	case 2:
		return reflect.ArrayOf(rapid.IntRange(0, 3).Draw(t, "length"), genType(t, depth-1))
	case 3:
		if key := genType(t, rapid.IntRange(0, depth-1).Draw(t, "depth")); key.Comparable() {
			return reflect.MapOf(key, genType(t, depth-1))
		}
		return reflect.MapOf(reflect.TypeFor[any](), genType(t, depth-1))
	case 4:
		return reflect.PointerTo(genType(t, depth-1))
	case 5, 6:
		var fields []reflect.StructField
		whole := rapid.SampledFrom([]string{"", "tuple", "tuple=ok", "proplist", "keys=binary", "keys=string", "nil", "struct=Elixir.A",
			"atom=a"}).Draw(t, "whole")
		if whole != "" {
			fields = append(fields, reflect.StructField{Name: "_", PkgPath: "ei_test", Type: reflect.TypeFor[struct{}](),
				Tag: reflect.StructTag(`ei:"` + whole + `"`)})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "fields") {
			option := rapid.SampledFrom([]string{"", "", "", ",omitempty", ",tuple", ",atom", ",charlist", "a", "-"}).Draw(t, "option")
			fields = append(fields, reflect.StructField{Name: string(rune('A' + i)), Type: genType(t, depth-1),
				Tag: reflect.StructTag(`ei:"` + option + `"`)})
		}
		return reflect.StructOf(fields)
	}
	return genType(t, 0)
}

// typed reports whether err is one that Unmarshal documents.
func typed(err error) bool {
	var mapping *ei.MappingError
	var located *ei.UnmarshalError
	var syntax *ei.SyntaxError
	return errors.As(err, &mapping) || errors.As(err, &located) || errors.As(err, &syntax)
}

// genFor makes a term that is likely to fit a type.
func genFor(t *rapid.T, typ reflect.Type, depth int) (term ei.Term) {
	if depth <= 0 || rapid.IntRange(0, 15).Draw(t, "other") == 0 {
		return terms.Of(1).Draw(t, "any")
	}
	switch typ.Kind() {
	case reflect.Slice, reflect.Array:
		l := ei.List{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			l = append(l, genFor(t, typ.Elem(), depth-1))
		}
		return l
	case reflect.Pointer:
		return genFor(t, typ.Elem(), depth-1)
	case reflect.Map:
		m := ei.Map{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			key := genFor(t, typ.Key(), depth-1)
			if _, dup := m.Get(key); !dup {
				m = append(m, ei.Pair{Key: key, Value: genFor(t, typ.Elem(), depth-1)})
			}
		}
		return m
	case reflect.Struct:
		m, l := ei.Map{}, ei.Tuple{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				continue
			}
			value := genFor(t, f.Type, depth-1)
			l = append(l, value)
			name := ei.Term(ei.Atom(string(f.Name[0] | 32)))
			if len(f.Name) == 1 && rapid.Bool().Draw(t, "there") {
				m = append(m, ei.Pair{Key: name, Value: value})
			}
		}
		if rapid.Bool().Draw(t, "tuple") {
			return l
		}
		return m
	case reflect.Int, reflect.Int8, reflect.Uint64, reflect.Float32, reflect.Float64:
		return ei.Int(rapid.Int8().Draw(t, "int"))
	case reflect.String:
		return rapid.SampledFrom([]ei.Term{ei.Atom("a"), ei.Binary("a"), ei.String("a"), ei.List{}, ei.Atom("undefined"),
			ei.Atom("true")}).Draw(t, "text")
	}
	return terms.Of(2).Draw(t, "term")
}

// Any term into any type: it fits, and goes there and back again, or there is an error with a type.
func TestAnyTermIntoAnyType(t *testing.T) {
	fits, mapped := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, rapid.IntRange(0, 3).Draw(t, "depth"))
		for range 4 {
			term := genFor(t, typ, 4)
			data := marshal(t, term)
			o := ei.DecodeOptions{RefuseUnknown: rapid.Bool().Draw(t, "refuse"), LenientText: rapid.Bool().Draw(t, "lenient"),
				AtomText: rapid.Bool().Draw(t, "atoms"), Alias: rapid.Bool().Draw(t, "alias")}
			if ok, err := throughGo(t, o, data, typ); ok {
				fits++
			} else if !errors.As(err, new(*ei.MappingError)) {
				mapped++
			}
		}
	})
	t.Logf("%d terms fitted, %d did not", fits, mapped)
}

// throughGo checks that what data becomes in a Go type goes there and back again without change.
func throughGo(t require.TestingT, o ei.DecodeOptions, data []byte, typ reflect.Type) (ok bool, err error) {
	v := reflect.New(typ)
	if err := o.Unmarshal(ei.Raw(data), v.Interface()); err != nil {
		require.True(t, typed(err), "%T: %v", err, err)
		require.NotEmpty(t, err.Error())
		return false, err
	}
	again, err := ei.Marshal(v.Interface())
	if err != nil { // a field of type any that got nothing; a key that is the same in another form
		require.True(t, errors.Is(err, ei.ErrDuplicate) || errors.Is(err, ei.ErrTruncated) ||
			errors.Is(err, ei.ErrAtom) || errors.As(err, new(*ei.MappingError)), "%v: %v", typ, err)
		return true, nil
	}
	back := reflect.New(typ)
	err = ei.DecodeOptions{LenientText: o.LenientText, AtomText: o.AtomText}.Unmarshal(ei.Raw(again), back.Interface())
	require.NoError(t, err, "%v: %x, %x", typ, data, again)
	third := marshal(t, back.Interface())
	require.Equal(t, again, third, "%v: %x", typ, data)
	return true, nil
}
