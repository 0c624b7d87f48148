package form

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// Uint is a field with a number.
func (f *Fields) Uint(tag uint64, n Need, v *uint64) {
	f.value(tag, n, *v == 0, func(b []byte) ([]byte, error) { return binary.AppendUvarint(b, *v), nil }, func(b []byte) error {
		x, k := binary.Uvarint(b)
		if k <= 0 || k != len(b) {
			return errors.New("no number")
		}
		*v = x
		return nil
	})
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
	f.value(tag, n, len(*v) == 0, func(b []byte) ([]byte, error) { return append(b, *v...), nil }, func(b []byte) error {
		*v = b[:len(b):len(b)]
		return nil
	})
}

// Text is a field of bytes that are text.
func Text[T ~string](f *Fields, tag uint64, n Need, v *T) {
	f.value(tag, n, *v == "", func(b []byte) ([]byte, error) { return append(b, *v...), nil }, func(b []byte) error {
		*v = T(b)
		return nil
	})
}

// Raw is Bytes for an encoded term, which may be missing.
func (f *Fields) Raw(tag uint64, v *ei.Raw) {
	b := []byte(*v)
	f.Bytes(tag, May, &b)
	if *v = b; len(b) == 0 {
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
	f.value(tag, n, *v == zero, func(b []byte) ([]byte, error) {
		if *v == zero {
			return b, nil
		}
		return put(b, *v)
	}, func(b []byte) (err error) {
		*v = zero
		if len(b) == 0 {
			return nil
		}
		c := ei.NewCursor(b)
		c.Atoms = f.atoms
		*v, err = get(&c)
		if err == nil && c.Len() > 0 {
			err = errors.New("bytes behind the identifier")
		}
		return err
	})
}

// One is Each for a field that occurs at most once; if it is absent, *v is nil.
func One[T any, P interface {
	*T
	Describer
}](f *Fields, tag uint64, n Need, name string, v **T) {
	var list []T
	if *v != nil {
		list = []T{**v}
	}
	Each[T, P](f, tag, n, name, &list)
	switch {
	case !f.reads || f.err != nil || len(list) == 0:
	case len(list) == 1:
		*v = &list[0]
	default:
		f.fail(tag, fmt.Errorf("%w: there are %d", ErrMalformed, len(list)))
	}
}

// looks is after how many elements of a list Write looks whether it is to give up.
const looks = 1024

// Each is a field that occurs once for each element of a list, as a record of its own. name is what
// an error calls the element.
func Each[T any, P interface {
	*T
	Describer
}](f *Fields, tag uint64, n Need, name string, list *[]T) {
	if !f.reads {
		inner := &Fields{over: f.over} // one for all: there may be a million messages
		for i := range *list {
			if i%looks == 0 {
				if err := f.over(); err != nil {
					f.fail(tag, err)
					return
				}
			}
			f.value(tag, n, false, func(b []byte) ([]byte, error) {
				inner.out = b
				P(&(*list)[i]).Describe(inner)
				return inner.out, inner.err
			}, nil)
		}
		return
	}
	inner := &Fields{reads: true, atoms: f.atoms, within: f, name: name} // one for all
	for {
		b, ok := f.take(tag)
		if !ok {
			return
		}
		inner.number = len(*list) + 1
		var v T
		inner.record(b, P(&v))
		if f.err = inner.err; f.err != nil {
			return
		}
		*list = append(*list, v)
	}
}
