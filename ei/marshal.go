package ei

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
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
	p, _ := scratch.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
	}
	b, err := Append(AppendVersion((*p)[:0]), v)
	var out []byte
	if err == nil {
		out = append(make([]byte, 0, len(b)), b...)
	}
	if *p = b; cap(b) <= maxScratch {
		scratch.Put(p)
	}
	return out, err
}

// scratch has buffers, *[]byte, in which Marshal makes terms: their size is known at the end only,
// and to grow a buffer to it takes a third of the time.
var scratch sync.Pool

const maxScratch = 64 << 10

// Append appends v without version byte. On an error b is returned unchanged. v is one of
//
//	Term                         itself
//	Marshaler                    what it says
//	bool                         true, false
//	int, uint, … of any size     integer
//	*big.Int, big.Int            integer
//	float32, float64             float; ErrFloat for an infinity or NaN
//	string                       binary, its bytes
//	[]byte, [n]byte              binary
//	slice or array of these      list
//	map of these                 map, sorted by the encoded keys; ErrDuplicate when two keys are the same term
//	struct of these              map with atoms as keys, or what its tags say; see below
//	*T, Optional[T]              what T is; nil and an absent value undefined (see EncodeOptions)
//	Result[T]                    {ok, T}, {error, Reason}; ok for a Result[struct{}]
//	time.Duration                integer of the unit in its field's tag, rounded; the longest infinity
//	any with one of these in it  the same, as any interface; nil within another value is undefined
//
// or of a type defined from one of them; one defined from a Term counts as that Term's underlying
// type (type Name Atom as a string, so it gives a binary). Of anything else, and nil, there is a
// MappingError; inside a value an EncodeError says where. A value that contains itself, such as a
// pointer to itself, is ErrCyclic.
//
// # Structs
//
// A struct is a map. The key of a field is its name in snake case (OrderID is order_id), or the one
// in its tag; after that its options:
//
//	Total   float64  // total => 1.5
//	OrderID string   `ei:"order"`            // order => <<"A1">>
//	Colour  string   `ei:",atom"`            // colour => red; of slices, maps and pointers each text in them
//	Name    string   `ei:",charlist"`        // name => "Jo", a list of characters
//	Mode    ei.Atom  `ei:",binary"`          // mode => <<"fast">>
//	Point   [2]int   `ei:",tuple"`           // point => {1,2}; a slice, too
//	Note    *string  `ei:"note,omitempty"`   // left out if it is nil, zero or empty
//	Wait    time.Duration `ei:",ms"`         // wait => 5000, or infinity; ns, us, ms or s
//	Cache   any      `ei:"-"`                // no part of the term
//
// The fields of an embedded struct are fields of the struct itself, unless one that is embedded
// less deep has the same key; those that are not exported are no part of the term, and an exported
// one is needed (of an embedded struct too, but for the locks of package sync). An embedded type
// with methods AppendTerm or ReadTerm of its own, as elixir.Date, is a field, date; beside no other
// exported field its methods are the struct's. Options of a blank field are the struct's own:
//
//	_ struct{} `ei:"tuple=user"`               // {user, Name, Age}: a record, or a tagged tuple
//	_ struct{} `ei:"tuple"`                    // {Name, Age}
//	_ struct{} `ei:"proplist"`                 // [{name, Name}, {age, Age}]; read with bare atoms for true, too
//	_ struct{} `ei:"unknown=error"`            // a key without a field is refused: Keyword.validate!
//	_ struct{} `ei:"keys=binary"`              // #{<<"name">> => Name}; keys=string: lists of characters
//	_ struct{} `ei:"struct=Elixir.Shop.Quote"` // %Shop.Quote{…}: '__struct__' is written, and must be right where it is there
//	_ struct{} `ei:"nil"`                      // absent values are nil, not undefined; so they are with struct=
//	_ struct{} `ei:"undefined"`                // undefined, with struct=
//	_ struct{} `ei:"atom=stop"`                // the atom stop, of a struct without fields
//
// What a struct has no field for is ignored by Unmarshal (see DecodeOptions), a field that the term
// does not have stays as it was; of a tuple all elements must be there. In a property list the
// first of several equal keys counts; in a map they are ErrDuplicate.
func Append(b []byte, v any) ([]byte, error) { return EncodeOptions{}.Append(b, v) }

// EncodeOptions say how Go values become terms, where the type of the value leaves that open.
type EncodeOptions struct {
	// Absent stands for a nil pointer, and for an Optional that is not there: nil as Elixir has it,
	// or undefined, which "" is, too. Options of a struct, nil and undefined, go before.
	Absent Atom
}

// Append is the function Append with options. What a Marshaler appends is its own affair.
func (o EncodeOptions) Append(b []byte, v any) ([]byte, error) {
	out, done, err := appendSimple(b, v, false)
	if !done {
		w := valueWriter{b: b, o: o}
		err = w.all(v)
		out = w.b
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// appendSimple appends v, unless it is of a type that needs a plan.
func appendSimple(b []byte, v any, nested bool) (out []byte, done bool, err error) {
	switch v := v.(type) {
	case string:
		if err := tooMany(len(v)); err != nil {
			return b, true, err
		}
		return append(AppendBinaryHeader(b, len(v)), v...), true, nil
	case bool:
		return AppendBool(b, v), true, nil
	case int:
		return AppendInt(b, int64(v)), true, nil
	case int64:
		return AppendInt(b, v), true, nil
	case uint64:
		return AppendUint(b, v), true, nil
	case float64:
		out, err = AppendFloat(b, v)
		return out, true, err
	case []byte:
		out, err = appendTerm(b, Binary(v))
		return out, true, err
	case nil:
		return b, true, unsupported(nil)
	case Local:
		if nested {
			return b, true, ErrLocal
		}
		out, err = AppendTerm(b, v)
		return out, true, err
	case Marshaler:
		return b, false, nil
	case Term:
		if reflect.TypeOf(v).Kind() == reflect.Pointer { // it has the methods of the Term that it points to
			return b, false, nil
		}
		out, err = appendTerm(b, v)
		return out, true, err
	}
	return b, false, nil
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
