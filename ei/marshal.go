package ei

import (
	"bytes"
	"fmt"
	"math/big"
	"reflect"
)

// A Marshaler is a Go value that can encode itself as a term.
type Marshaler interface {
	// AppendTerm appends the value to b, as one term without version byte. On an error it must
	// return b unchanged. If it appends nothing, or returns something else than b with the term,
	// Append gives ErrMalformed; if there is a version byte, ErrTag.
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
// or of a type defined from one of them; one defined from a Term counts as that Term's underlying
// type (type Name Atom as a string, so it gives a binary). Anything else, structs, nil and nil
// pointers included, is an UnsupportedTypeError; inside a value an EncodeError says where. A value
// that contains itself, such as a pointer to itself, is ErrCyclic.
func Append(b []byte, v any) ([]byte, error) {
	out, in, err := appendAny(b, v, false)
	if err == nil && in.n > 0 {
		out, err = appendValues(out, in)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// appendAny appends v, or only its head; then it gives a level with the values that v is made of.
func appendAny(b []byte, v any, nested bool) (out []byte, in valueLevel, err error) {
	switch v := v.(type) {
	case Local:
		if nested {
			return b, in, ErrLocal
		}
		out, err = AppendTerm(b, v)
		return out, in, err
	case Marshaler:
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
			return b, in, &UnsupportedTypeError{Value: v}
		}
		out, err = appendMarshaler(b, v)
		return out, in, err
	case Term:
		// a pointer has the methods of the Term that it points to
		if reflect.TypeOf(v).Kind() == reflect.Pointer {
			return appendValue(b, v, nested)
		}
		out, err = appendTerm(b, v)
		return out, in, err
	case string:
		if err := tooMany(len(v)); err != nil {
			return b, in, err
		}
		return append(AppendBinaryHeader(b, len(v)), v...), in, nil
	case []byte:
		out, err = appendTerm(b, Binary(v))
		return out, in, err
	case bool:
		return AppendBool(b, v), in, nil
	case int:
		return AppendInt(b, int64(v)), in, nil
	case int64:
		return AppendInt(b, v), in, nil
	case uint64:
		return AppendUint(b, v), in, nil
	case float64:
		out, err = AppendFloat(b, v)
		return out, in, err
	case *big.Int:
		if v == nil {
			return b, in, &UnsupportedTypeError{Value: v}
		}
		return AppendBig(b, v), in, nil
	case []any:
		return AppendListHeader(b, len(v)), valueLevel{list: v, n: len(v)}, tooMany(len(v))
	}
	return appendValue(b, v, nested)
}

// appendMarshaler appends what a Marshaler says. A term with version byte, or one in place of what
// b holds (as of a Marshaler that returns what Marshal gives), is refused: a runtime system would
// end the connection over it.
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

// appendValue is appendAny by the value's kind.
func appendValue(b []byte, v any, nested bool) (out []byte, in valueLevel, err error) {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		return AppendBool(b, r.Bool()), in, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return AppendInt(b, r.Int()), in, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return AppendUint(b, r.Uint()), in, nil
	case reflect.Float32, reflect.Float64:
		out, err = AppendFloat(b, r.Float())
		return out, in, err
	case reflect.String:
		return appendAny(b, r.String(), nested)
	case reflect.Slice, reflect.Array:
		if r.Type().Elem() == reflect.TypeFor[byte]() {
			if r.Kind() == reflect.Array { // it cannot be addressed
				data := make([]byte, r.Len())
				reflect.Copy(reflect.ValueOf(data), r)
				r = reflect.ValueOf(data)
			}
			out, err = appendTerm(b, Binary(r.Bytes()))
			return out, in, err
		}
		return AppendListHeader(b, r.Len()), valueLevel{of: r, n: r.Len()}, tooMany(r.Len())
	case reflect.Map:
		if r.Len() == 0 {
			return AppendMapHeader(b, 0), in, nil
		}
		return b, valueLevel{of: r, n: 2 * r.Len(), pairs: newGoMap(r)}, tooMany(r.Len())
	case reflect.Pointer:
		switch l, isLocal := v.(*Local); {
		case r.IsNil():
		case isLocal:
			return appendAny(b, *l, nested)
		default:
			return b, valueLevel{of: r, n: 1}, nil
		}
	}
	return b, in, &UnsupportedTypeError{Value: v}
}
