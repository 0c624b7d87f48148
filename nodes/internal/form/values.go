package form

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// Uint is a field with a number.
func (f *Fields) Uint(tag uint64, n Need, v *uint64) {
	if f.reads {
		*v = 0
		if b, ok := f.take(tag, n); ok {
			x, k := binary.Uvarint(b)
			if k <= 0 || k != len(b) {
				f.malformed(tag, errors.New("no number"))
			}
			*v = x
		}
		return
	}
	if *v == 0 && n != Must || f.err != nil {
		return
	}
	at := f.begin(tag, n, 0)
	f.out = binary.AppendUvarint(f.out, *v)
	f.end(at)
}

// Number is Uint for any kind of integer.
func Number[T ~int | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](f *Fields, tag uint64, n Need, v *T) {
	x := uint64(*v)
	f.Uint(tag, n, &x)
	if f.reads && f.err == nil {
		if *v = T(x); uint64(*v) != x {
			f.fail(tag, fmt.Errorf("%w: %d is out of range", ErrMalformed, x))
		}
	}
}

// Bool is a field with a number, 0 or 1.
func (f *Fields) Bool(tag uint64, n Need, v *bool) {
	x := uint64(0)
	if *v {
		x = 1
	}
	f.Uint(tag, n, &x)
	*v = x != 0
}

// Bytes is a field of bytes. What is read is a part of the state, not a copy.
func (f *Fields) Bytes(tag uint64, n Need, v *[]byte) {
	if f.reads {
		*v = nil
		if b, ok := f.take(tag, n); ok {
			*v = b[:len(b):len(b)]
		}
		return
	}
	if len(*v) == 0 && n != Must || f.err != nil {
		return
	}
	at := f.begin(tag, n, len(*v))
	f.out = append(f.out, *v...)
	f.end(at)
}

// Text is a field of bytes that are text. What *v is before it is read is kept if it is the same.
func Text[T ~string](f *Fields, tag uint64, n Need, v *T) {
	if f.reads {
		b, ok := f.take(tag, n)
		if !ok {
			*v = ""
		} else if string(*v) != string(b) {
			*v = T(b)
		}
		return
	}
	if *v == "" && n != Must || f.err != nil {
		return
	}
	at := f.begin(tag, n, len(*v))
	f.out = append(f.out, *v...)
	f.end(at)
}

// Raw is Bytes for an encoded term, which may be missing.
func (f *Fields) Raw(tag uint64, v *ei.Raw) {
	if f.Bytes(tag, May, (*[]byte)(v)); len(*v) == 0 {
		*v = nil
	}
}

// Pid is a field with a pid in the external term format; the zero pid is empty.
func (f *Fields) Pid(tag uint64, n Need, v *ei.Pid) {
	identifier(f, tag, n, v, ei.AppendPid, (*ei.Cursor).Pid)
}

// Ref is the same for a reference.
func (f *Fields) Ref(tag uint64, n Need, v *ei.Ref) {
	identifier(f, tag, n, v, ei.AppendRef, (*ei.Cursor).Ref)
}

func identifier[T comparable](f *Fields, tag uint64, n Need, v *T, put func([]byte, T) ([]byte, error), get func(*ei.Cursor) (T, error)) {
	var zero T
	if f.reads {
		*v = zero
		b, ok := f.take(tag, n)
		if !ok || len(b) == 0 {
			return
		}
		f.cursor = ei.NewCursor(b)
		f.cursor.Atoms = f.atoms
		x, err := get(&f.cursor)
		if err == nil && f.cursor.Len() > 0 {
			err = errors.New("bytes behind the identifier")
		}
		if err != nil {
			f.malformed(tag, err)
		}
		*v = x
		return
	}
	if *v == zero && n != Must || f.err != nil {
		return
	}
	at := f.begin(tag, n, 0)
	if *v != zero {
		out, err := put(f.out, *v)
		if err != nil {
			f.fail(tag, err)
			return
		}
		f.out = out
	}
	f.end(at)
}

// Record is a field that is one record; if it is missing, it is one without fields.
func (f *Fields) Record(tag uint64, n Need, name string, d Describer) {
	if f.reads {
		b, _ := f.take(tag, n)
		f.read(b, name, d)
		return
	}
	inner := f.inner(name)
	f.put(tag, n, inner, d)
	f.spare = inner
}

// read reads a record within this one.
func (f *Fields) read(b []byte, name string, d Describer) {
	if f.err != nil {
		return
	}
	inner := f.inner(name)
	inner.number = 1
	inner.record(b, d)
	f.err, f.spare = inner.err, inner
}

// put writes a record within this one.
func (f *Fields) put(tag uint64, n Need, inner *Fields, d Describer) {
	if f.err != nil {
		return
	}
	at := f.begin(tag, n, 0)
	inner.out = f.out
	d.Describe(inner)
	f.out, inner.out = inner.out, nil
	if inner.err != nil {
		f.fail(tag, inner.err)
		return
	}
	f.end(at)
}

// One is Record for one that may be absent: *v is nil then.
func One[T any, P interface {
	*T
	Describer
}](f *Fields, tag uint64, n Need, name string, v **T) {
	if f.reads {
		*v = nil
		x := f.find(tag)
		switch {
		case x == nil:
		case x.count > 1:
			f.fail(tag, fmt.Errorf("%w: there are %d", ErrMalformed, x.count))
		default:
			b, _ := f.take(tag, n)
			*v = new(T)
			f.read(b, name, P(*v))
		}
		return
	}
	if *v != nil {
		inner := f.inner(name)
		f.put(tag, n, inner, P(*v))
		f.spare = inner
	}
}

// looks is after how many elements of a list Write looks whether it is to give up.
const looks = 1024

// looksOver notes now and then that Write is to give up; i is the index of an element of a list.
func (f *Fields) looksOver(tag uint64, i int) (over bool) {
	if i%looks == 0 {
		if err := f.over(); err != nil {
			f.fail(tag, err)
		}
	}
	return f.err != nil
}

// Each is a field that occurs once for each element of a list, as a record of its own. name is what
// an error calls the element. What is read is put where the elements of *list are.
func Each[T any, P interface {
	*T
	Describer
}](f *Fields, tag uint64, n Need, name string, list *[]T) {
	if f.reads {
		*list = (*list)[:0]
		x := f.find(tag)
		if x == nil {
			return
		}
		inner := f.inner(name) // one for all: there may be a million messages
		for i := 0; x != nil && f.err == nil; i, x = i+1, f.find(tag) {
			*list = slices.Grow(*list, min(x.count, looks))[:i+1] // all that is there is read anew
			b, _ := f.take(tag, n)
			inner.number = i + 1
			inner.record(b, P(&(*list)[i]))
			f.err = inner.err
		}
		f.spare = inner
		return
	}
	if len(*list) == 0 {
		return
	}
	inner := f.inner(name)
	for i := range *list {
		if f.looksOver(tag, i) {
			return
		}
		f.put(tag, n, inner, P(&(*list)[i]))
	}
	f.spare = inner
}

// A List is a list of which one element at a time is in memory: a state may have a million.
type List[T any] struct {
	// All gives the elements, each of them valid until the next one; after an error it gives no
	// more. nil: there are none. It is called to write the list, and set when that is read; then the
	// elements are read when it is called, an error is an *Error, and it must not be called by
	// several goroutines at once.
	All iter.Seq2[*T, error]
	// Len is how many elements there are in a list that has been read.
	Len int
}

// Stream is Each for a List. What is read keeps a part of the state.
func Stream[T any, P interface {
	*T
	Describer
}](f *Fields, tag uint64, n Need, name string, list *List[T]) {
	if f.reads {
		*list = List[T]{}
		x := f.find(tag)
		if x == nil {
			return
		}
		var pieces [][]byte
		for ; x != nil; x = f.find(tag) {
			pieces = append(pieces, x.bytes)
			list.Len, x.count = list.Len+x.count, 0
		}
		list.All = func(yield func(*T, error) bool) { stream[T, P](f, pieces, name, yield) }
		return
	}
	if list.All == nil || f.err != nil {
		return
	}
	inner, i := f.inner(name), 0
	for v, err := range list.All {
		switch {
		case f.looksOver(tag, i):
			return
		case err != nil:
			f.err = err
			return
		}
		f.put(tag, n, inner, P(v))
		i++
	}
	f.spare = inner
}

// stream reads the elements of a List.
func stream[T any, P interface {
	*T
	Describer
}](f *Fields, pieces [][]byte, name string, yield func(*T, error) bool) {
	inner, v := f.inner(name), P(new(T))
	for _, b := range pieces {
		for len(b) > 0 {
			_, _, value, rest, _ := nextField(b) // record has read it
			inner.number++
			if inner.record(value, v); inner.err != nil {
				yield(nil, inner.err)
				return
			}
			if !yield((*T)(v), nil) {
				return
			}
			b = rest
		}
	}
	f.spare = inner
}
