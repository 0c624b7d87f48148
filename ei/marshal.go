package ei

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
)

// A Marshaler is a Go value that can encode itself as a term.
type Marshaler interface {
	// AppendTerm appends the value to b, as one term without version byte. On an error it must return b unchanged. If it appends nothing, or
	// returns something else than b with the term, Append gives ErrMalformed; if there is a version byte, ErrTag.
	AppendTerm(b []byte) ([]byte, error)
}

// Marshal gives the version byte followed by v as Append encodes it, with the same errors.
func Marshal(v any) ([]byte, error) {
	b, err := Append(AppendVersion(make([]byte, 0, 64)), v)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Append appends v without version byte. On an error b is returned unchanged. v is one of
//
//	Term                         itself
//	Marshaler                    what it says
//	bool                         true, false
//	int, uint, … of any size     integer
//	*big.Int                     integer
//	float32, float64             float; ErrFloat for an infinity or NaN
//	string                       binary, its bytes
//	[]byte, [n]byte              binary
//	slice or array of these      list
//	map of these                 map, sorted by the encoded keys; ErrDuplicate when two keys are the same term
//	pointer to one of these      what it points to
//
// or of a type defined from one of them; one defined from a Term counts as that Term's underlying type (type Name Atom as a string, so it
// gives a binary). Anything else, structs, nil and nil pointers included, is an UnsupportedTypeError; inside a value an EncodeError says
// where. Slices, arrays, maps and pointers that are nested more than 10000 deep, a pointer to itself say, are a *LimitError; the limit of a
// Term is AppendTerm's.
func Append(b []byte, v any) ([]byte, error) {
	out, err := appendAny(b, v, Limits{}.withDefaults().Depth)
	if err != nil {
		return b, err
	}
	return out, nil
}

func appendAny(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case Local:
		if depth < (Limits{}.withDefaults().Depth) {
			return b, ErrLocal
		}
		return AppendTerm(b, v)
	case Marshaler:
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
			return b, &UnsupportedTypeError{Value: v}
		}
		return appendMarshaler(b, v)
	case Term:
		if reflect.TypeOf(v).Kind() == reflect.Pointer { // a pointer has the methods of the Term that it points to
			return appendValue(b, v, depth)
		}
		return appendTerm(b, v, outermost)
	case string:
		if uint64(len(v)) > math.MaxUint32 {
			return b, ErrTooLong
		}
		return append(AppendBinaryHeader(b, len(v)), v...), nil
	case []byte:
		return appendTerm(b, Binary(v), outermost)
	case bool:
		return AppendBool(b, v), nil
	case int:
		return AppendInt(b, int64(v)), nil
	case int64:
		return AppendInt(b, v), nil
	case uint64:
		return AppendUint(b, v), nil
	case float64:
		return AppendFloat(b, v)
	case *big.Int:
		if v == nil {
			return b, &UnsupportedTypeError{Value: v}
		}
		return AppendBig(b, v), nil
	case []any:
		return appendSlice(b, len(v), depth, func(i int) any { return v[i] })
	}
	return appendValue(b, v, depth)
}

// appendMarshaler appends what a Marshaler says. A term with version byte, or one in place of what b holds (as of a Marshaler that returns
// what Marshal gives), is refused: a runtime system would end the connection over it.
func appendMarshaler(b []byte, m Marshaler) ([]byte, error) {
	out, err := m.AppendTerm(b)
	if err != nil {
		return b, err
	}
	end := b[max(0, len(b)-8):] // to compare all of b each time would take too long
	switch {
	case len(out) <= len(b), !bytes.HasSuffix(out[:len(b)], end):
		return b, fmt.Errorf("%w: AppendTerm of %T has not appended a term to its argument", ErrMalformed, m)
	case out[len(b)] == VersionMagic:
		return b, fmt.Errorf("%w 131: AppendTerm of %T is to append no version byte", ErrTag, m)
	}
	return out, nil
}

// appendValue appends a value by its kind.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		return AppendBool(b, r.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return AppendInt(b, r.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return AppendUint(b, r.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return AppendFloat(b, r.Float())
	case reflect.String:
		return appendAny(b, r.String(), depth)
	case reflect.Slice, reflect.Array:
		if r.Type().Elem() == reflect.TypeFor[byte]() {
			if r.Kind() == reflect.Array { // it cannot be addressed
				p := make([]byte, r.Len())
				reflect.Copy(reflect.ValueOf(p), r)
				return appendTerm(b, Binary(p), outermost)
			}
			return appendTerm(b, Binary(r.Bytes()), outermost)
		}
		return appendSlice(b, r.Len(), depth, func(i int) any { return r.Index(i).Interface() })
	case reflect.Map:
		return appendGoMap(b, r, depth)
	case reflect.Pointer:
		switch l, isLocal := v.(*Local); {
		case r.IsNil():
		case depth == 0:
			return b, tooDeep()
		case isLocal:
			return appendAny(b, *l, depth)
		default:
			return appendAny(b, r.Elem().Interface(), depth-1)
		}
	}
	return b, &UnsupportedTypeError{Value: v}
}

// tooDeep is the error for a value that is nested too deep: a Go value may contain itself.
func tooDeep() error { return &LimitError{Limit: "Depth", Max: Limits{}.withDefaults().Depth} }

func appendSlice(b []byte, n, depth int, elem func(int) any) ([]byte, error) {
	if depth == 0 {
		return b, tooDeep()
	}
	if uint64(n) > math.MaxUint32 {
		return b, ErrTooLong
	}
	if n == 0 {
		return AppendNil(b), nil
	}
	b = AppendListHeader(b, n)
	var err error
	for i := range n {
		if b, err = appendAny(b, elem(i), depth-1); err != nil {
			return b, within(i, err)
		}
	}
	return AppendNil(b), nil
}

func appendGoMap(b []byte, r reflect.Value, depth int) ([]byte, error) {
	if depth == 0 {
		return b, tooDeep()
	}
	type pair struct {
		key       []byte
		of, value reflect.Value
	}
	pairs, keys, manyForms := make([]pair, 0, r.Len()), make(Map, 0, r.Len()), false
	for it := r.MapRange(); it.Next(); {
		key, err := appendAny(nil, it.Key().Interface(), depth-1)
		if err != nil {
			return b, within("key", err)
		}
		pairs, keys = append(pairs, pair{key: key, of: it.Key(), value: it.Value()}), append(keys, Pair{Key: Raw(key)})
		manyForms = manyForms || !hasOneForm(key)
	}
	if manyForms && duplicateBySorting(keys) {
		return b, ErrDuplicate
	}
	slices.SortFunc(pairs, func(x, y pair) int { return bytes.Compare(x.key, y.key) })
	b = AppendMapHeader(b, len(pairs))
	var err error
	for i, p := range pairs {
		if i > 0 && bytes.Equal(p.key, pairs[i-1].key) {
			return b, ErrDuplicate
		}
		b = append(b, p.key...)
		if b, err = appendAny(b, p.value.Interface(), depth-1); err != nil {
			return b, within(p.of, err)
		}
	}
	return b, nil
}

// hasOneForm reports whether key is the only encoding of its term that this package may write.
func hasOneForm(key []byte) bool {
	c := Cursor{b: key}
	switch Tag(key[0]) {
	case TagSmallAtomUTF8Ext, TagSmallIntegerExt, TagBinaryExt, TagNewFloatExt:
		return true
	case TagAtomUTF8Ext: // a Marshaler may have written a long form without need
		a, err := c.Atom()
		return err == nil && len(a) > math.MaxUint8
	case TagIntegerExt:
		i, err := c.Int()
		return err == nil && uint64(i) > math.MaxUint8
	}
	return false
}
