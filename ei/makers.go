package ei

import (
	"fmt"
	"math/big"
	"reflect"
)

// MapOf makes a map of keys and values in turn: MapOf("total", 4.5, "lines", lines). A key is a
// Term, or a string, which stands for an atom. A value is a Term, a []Term (a list), or a string,
// []byte (both binaries), bool, integer, *big.Int or float of Go. Equal keys are ErrDuplicate when
// the map is encoded, as in any Map. An odd number of arguments, or one of another type, is a
// mistake of the program: MapOf panics. For Go values of any type use a Go map or a struct, which
// Append takes.
func MapOf(keysAndValues ...any) Map {
	if len(keysAndValues)%2 == 1 {
		panic(fmt.Sprintf("ei: MapOf: a key without a value: %v", keysAndValues[len(keysAndValues)-1]))
	}
	m := make(Map, len(keysAndValues)/2)
	for i := range m {
		key := keysAndValues[2*i]
		if name, ok := key.(string); ok {
			key = Atom(name)
		}
		m[i] = Pair{Key: madeOf(key), Value: madeOf(keysAndValues[2*i+1])}
	}
	return m
}

// Tagged makes a tuple of an atom and values: Tagged("ok", v) is {ok, V}. The values are those of
// MapOf; one of another type is a mistake of the program: Tagged panics.
func Tagged(tag Atom, values ...any) Tuple {
	t := make(Tuple, 1, 1+len(values))
	t[0] = tag
	for _, v := range values {
		t = append(t, madeOf(v))
	}
	return t
}

// T makes a tuple of an atom and Go values, for whatever takes all that Append does, as a request
// of gen_server:call: T("add", "A", 2) is {add, <<"A">>, 2}, where []any{"add", "A", 2} is the list
// [<<"add">>, <<"A">>, 2].
func T(tag Atom, values ...any) any { return append(goTuple{tag}, values...) }

// A goTuple is a tuple of Go values.
type goTuple []any

var typeOfTuple = reflect.TypeFor[goTuple]()

// madeOf gives a value of MapOf as a term.
func madeOf(v any) Term {
	switch v := v.(type) {
	case nil:
	case Term:
		return v
	case []Term:
		return List(v)
	case string:
		return Binary(v)
	case []byte:
		return Binary(v)
	case bool:
		if v {
			return Atom("true")
		}
		return Atom("false")
	case float64:
		return Float(v)
	case float32:
		return Float(v)
	case *big.Int:
		if v != nil {
			return NewBigInt(v)
		}
	default:
		if t := integerOf(v); t != nil {
			return t
		}
	}
	panic(unsupported(v).Error())
}
