package ei

import (
	"cmp"
	"math"
	"math/big"
	"reflect"
	"time"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// A valueWriter appends a Go value, without recursion: what it is within is a stack.
type valueWriter struct {
	b     []byte
	o     EncodeOptions
	in    writing               // the value whose parts are being appended; without a plan there is none
	above nested.Stack[writing] // what that value is part of
	opens int                   // how often a value with parts was begun
	from  origin                // a pointer that was followed on the way to the value that comes next
}

// A writing is a Go value whose parts are being appended.
type writing struct {
	plan  *plan
	v     reflect.Value
	i, n  int    // parts that were appended, and that there are; of a map first the keys
	pairs *goMap // the contents of a map
	from  origin
}

// An origin is the pointer, slice or map that was met last on the way to a value, and how many
// values with parts were begun since. A value and one within it have the same only if that was met
// again: if it contains itself.
type origin struct {
	plan     *plan
	at       uintptr
	n, since uint32 // n: elements of a slice
}

func isSameValue(a, b *writing) bool { return a.plan == b.plan && a.from == b.from }

// all appends v.
func (w *valueWriter) all(v any) error {
	err := w.any(v)
	for err == nil && w.in.plan != nil {
		switch w.in.plan.kind {
		case kindMap:
			err = w.pairs()
		case kindStruct:
			err = w.fields()
		case kindResult:
			w.in, _ = w.above.Pop()
		default:
			err = w.elements()
		}
	}
	for err != nil && w.in.plan != nil && !isPathFull(err) { // the way there
		err = w.in.within(err)
		w.in, _ = w.above.Pop()
	}
	return err
}

// within adds to err, about the part visited last, the step that leads to it.
func (f *writing) within(err error) error {
	i := f.i - 1
	if i < 0 { // it is about the whole, or the one part of a Result
		return err
	}
	switch f.plan.kind {
	case kindStruct:
		return within(f.plan.record.fields[i].key, err)
	case kindMap:
		if i < len(f.pairs.pairs) {
			return within("key", err)
		}
		return within(f.pairs.pairs[i-len(f.pairs.pairs)].of, err)
	}
	return within(i, err)
}

func (w *valueWriter) open(f writing) error {
	switch f.from = w.from; {
	case f.plan.kind == kindSlice || f.plan.kind == kindMap:
		f.from = origin{plan: f.plan, at: f.v.Pointer(), n: uint32(f.n)}
	case f.from.plan == nil:
		f.from = w.in.from
		f.from.since++
	}
	w.from = origin{}
	if w.in.plan != nil {
		w.above.Push(w.in)
	}
	w.in = f
	w.opens++
	if w.above.IsRepeated(&w.in, isSameValue) {
		return ErrCyclic
	}
	return nil
}

// any appends the value in an interface.
func (w *valueWriter) any(v any) error {
	out, done, err := appendSimple(w.b, v, w.in.plan != nil)
	if done {
		w.b = out
		return err
	}
	p, err := planOf(reflect.TypeOf(v))
	if err != nil {
		return err
	}
	return w.value(p, reflect.ValueOf(v))
}

// absent appends what stands for a value of the plan's type that is not there.
func (w *valueWriter) absent(p *plan) []byte {
	return appendAtom(w.b, cmp.Or(p.absent, w.o.Absent, "undefined"))
}

// value appends v, or its head; then its parts are next, and it is in.
func (w *valueWriter) value(p *plan, v reflect.Value) (err error) {
	w.from = origin{}
	var met uintptr // one of the pointers on the way, to find a circle
	for chain := 1; ; {
		if p.marshals != marshalsNot && !(v.Kind() == reflect.Pointer && v.IsNil()) {
			return w.marshaler(p, v)
		}
		switch p.kind {
		case kindPointer:
			if v.IsNil() {
				w.b = w.absent(p)
				return nil
			}
			if v.Pointer() == met {
				return ErrCyclic
			}
			if chain++; chain&(chain-1) == 0 { // Brent's algorithm
				met = v.Pointer()
			}
			w.from = origin{plan: p, at: v.Pointer()}
			p, v = p.elem, v.Elem()
		case kindOptional:
			if !v.Field(1).Bool() {
				w.b = w.absent(p)
				return nil
			}
			p, v = p.elem, v.Field(0)
		case kindAny, kindVariants:
			if v.IsNil() {
				if w.in.plan == nil {
					return unsupported(nil)
				}
				w.b = w.absent(p)
				return nil
			}
			x := v.Interface()
			out, done, err := appendSimple(w.b, x, w.in.plan != nil)
			if done {
				w.b = out
				return err
			}
			v = v.Elem()
			if p, err = planOf(v.Type()); err != nil {
				return err
			}
		case kindSlice, kindArray:
			return w.openElements(p, v)
		case kindMap:
			return w.openMap(p, v)
		case kindStruct:
			return w.openStruct(p, v)
		case kindResult:
			done, err := w.result(p, v)
			if done || err != nil {
				return err
			}
			p, v = p.elem, v.Field(0)
		default:
			if p.typ == typeOfLocal && w.in.plan == nil { // by a pointer
				w.b, err = AppendTerm(w.b, v.Interface().(Local))
				return err
			}
			w.b, err = appendValue(w.b, p, v)
			return err
		}
	}
}

func (w *valueWriter) marshaler(p *plan, v reflect.Value) (err error) {
	if p.marshals == marshalsPointer {
		if !v.CanAddr() {
			copied := reflect.New(p.typ).Elem()
			copied.Set(v)
			v = copied
		}
		v = v.Addr()
	}
	w.b, err = appendMarshaler(w.b, v.Interface().(Marshaler))
	return err
}

// infinite is the time.Duration that stands for infinity.
const infinite = math.MaxInt64

// appendValue appends a value that has no parts.
func appendValue(b []byte, p *plan, v reflect.Value) ([]byte, error) {
	switch p.kind {
	case kindBool:
		return AppendBool(b, v.Bool()), nil
	case kindInt:
		return AppendInt(b, v.Int()), nil
	case kindUint:
		return AppendUint(b, v.Uint()), nil
	case kindFloat:
		return AppendFloat(b, v.Float())
	case kindDuration:
		if v.Int() == infinite {
			return appendAtom(b, "infinity"), nil
		}
		return AppendInt(b, int64(time.Duration(v.Int()).Round(p.unit)/p.unit)), nil
	case kindBig:
		if v.CanAddr() {
			return AppendBig(b, v.Addr().Interface().(*big.Int)), nil
		}
		x := v.Interface().(big.Int)
		return AppendBig(b, &x), nil
	case kindText:
		return appendString(b, v.String(), p.text)
	case kindAtom:
		if p.text == textDefault {
			return AppendAtom(b, Atom(v.String()))
		}
		return appendString(b, v.String(), p.text)
	case kindBytes:
		data := v.Bytes()
		if err := tooMany(len(data)); err != nil {
			return b, err
		}
		return AppendBinary(b, data), nil
	case kindByteArray:
		if !v.CanAddr() {
			copied := reflect.New(p.typ).Elem()
			copied.Set(v)
			v = copied
		}
		return AppendBinary(b, v.Bytes()), nil
	case kindRaw:
		return appendRaw(b, v.Bytes())
	case kindTerm:
		return appendTerm(b, v.Interface().(Term))
	}
	return b, &MappingError{Type: p.typ, Reason: "it is an Unmarshaler, but no Marshaler"}
}

func (w *valueWriter) openElements(p *plan, v reflect.Value) error {
	n := v.Len()
	if err := tooMany(n); err != nil {
		return err
	}
	if p.asTuple {
		w.b = AppendTupleHeader(w.b, n)
	} else {
		w.b = AppendListHeader(w.b, n)
	}
	if n == 0 {
		return nil
	}
	return w.open(writing{plan: p, v: v, n: n})
}

// elements appends the rest of a slice or an array, up to an element that has parts itself.
func (w *valueWriter) elements() error {
	f := &w.in
	for p := f.plan.elem; f.i < f.n; {
		e := f.v.Index(f.i)
		f.i++
		if p.simple {
			var err error
			if w.b, err = appendValue(w.b, p, e); err != nil {
				return err
			}
			continue
		}
		opens := w.opens
		if err := w.value(p, e); err != nil || w.opens != opens {
			return err
		}
	}
	if !f.plan.asTuple {
		w.b = AppendNil(w.b)
	}
	w.in, _ = w.above.Pop()
	return nil
}
