package nodes

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Why a state could not be read; wrapped in a *StateError.
var (
	// ErrState: the bytes are not a state, or not one of this kind.
	ErrState = errors.New("malformed state")
	// ErrStateFormat: the state has a format that this version does not know.
	ErrStateFormat error = unknown("unknown format of state")
	// ErrStateField: the state has a field that must be understood, and that this version does not know.
	ErrStateField error = unknown("unknown mandatory field")
)

// unknown is an error that a hand-off knows for handoff.ErrUnknown, on the other side, too.
type unknown string

func (e unknown) Error() string        { return string(e) }
func (e unknown) Is(target error) bool { return target == handoff.ErrUnknown }

// A StateError says where in a state something is wrong.
type StateError struct {
	Path string // "connection 3, field 13"
	Err  error  // wraps ErrState, ErrStateFormat or ErrStateField
}

// Error says where and what.
func (e *StateError) Error() string {
	if e.Path == "" {
		return "state: " + e.Err.Error()
	}
	return "state: " + e.Path + ": " + e.Err.Error()
}

// Unwrap gives what is wrong.
func (e *StateError) Unwrap() error { return e.Err }

// need says what becomes of a field that the reader does not know, and of one that is missing.
type need uint64

const (
	may   need = iota // who does not know it skips it; where it is missing it is zero
	must              // who does not know it, or misses it, refuses the state
	given             // as must, but it is not written where it is zero; so where it is missing it is zero: see StateFeatures
)

// mark is what a field is written with.
func (n need) mark() uint64 { return uint64(min(n, must)) }

// A form is one record of a state, on its way out or in. The same description of the fields, a function that names each one, does both:
// so they cannot differ.
type form struct {
	reads bool
	out   []byte
	in    []field
	next  int
	path  string
	atoms *ei.AtomTable
	err   error
}

// A field of a record that is read.
type field struct {
	tag   uint64
	need  need
	value []byte
	used  bool
}

// A describer names the fields of a record.
type describer interface{ describe(f *form) }

// The beginning of every state: what it is, and the version of the format. Fields come and go within a version; it changes when they
// cannot.
const (
	stateMagic   = "cnode-state"
	stateVersion = 1
)

// writeState encodes a whole state of some kind.
func writeState(kind byte, d describer) ([]byte, error) {
	f := &form{out: append([]byte(stateMagic), kind, stateVersion)}
	d.describe(f)
	if f.err != nil {
		clear(f.out)
		return nil, f.err
	}
	return f.out, nil
}

// grow makes room for more bytes. What they lay in before is cleared, for keys may be among them.
func grow(b []byte, room int) []byte {
	if cap(b)-len(b) >= room {
		return b
	}
	grown := append(make([]byte, 0, 2*cap(b)+room), b...)
	clear(b)
	return grown
}

// shortField is how much a field takes that is not a field of bytes.
const shortField = 1 << 10

// readState decodes what writeState gives. Nothing of b is kept but where a field says so.
func readState(kind byte, b []byte, d describer) error {
	head := len(stateMagic) + 2
	switch {
	case len(b) < head || string(b[:len(stateMagic)]) != stateMagic:
		return &StateError{Err: ErrState}
	case b[head-2] != kind:
		return &StateError{Err: fmt.Errorf("%w: of another kind (%q, not %q)", ErrState, b[head-2], kind)}
	case b[head-1] != stateVersion:
		return &StateError{Err: fmt.Errorf("%w: %d, want %d", ErrStateFormat, b[head-1], stateVersion)}
	}
	f := &form{reads: true, atoms: ei.NewAtomTable(atomTable)}
	f.record(b[head:], d)
	return f.err
}

// record reads the fields of one record.
func (f *form) record(b []byte, d describer) {
	for len(b) > 0 && f.err == nil {
		head, n := binary.Uvarint(b)
		if n <= 0 {
			f.fail(0, ErrState)
			return
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > uint64(len(b)-n-m) {
			f.fail(head>>1, fmt.Errorf("%w: a field of %d bytes in %d", ErrState, size, len(b)-n))
			return
		}
		b = b[n+m:]
		f.in = append(f.in, field{tag: head >> 1, need: need(head & 1), value: b[:size]})
		b = b[size:]
	}
	d.describe(f)
	for _, x := range f.in {
		if !x.used && x.need == must {
			f.fail(x.tag, ErrStateField)
		}
	}
}

func (f *form) fail(tag uint64, err error) {
	if f.err == nil {
		path := f.path
		if tag != 0 {
			if path != "" {
				path += ", "
			}
			path += fmt.Sprintf("field %d", tag)
		}
		f.err = &StateError{path, err}
	}
}

// take finds the next field with a tag.
func (f *form) take(tag uint64) ([]byte, bool) {
	if f.err != nil {
		return nil, false
	}
	for i := range f.in { // in the order of the description, as a rule
		at := (f.next + i) % len(f.in)
		if x := &f.in[at]; x.tag == tag && !x.used {
			x.used, f.next = true, at+1
			return x.value, true
		}
	}
	return nil, false
}

// value reads or writes one field. put appends it, get reads it; zero says that it need not be written where it may be absent.
func (f *form) value(tag uint64, n need, zero bool, put func(b []byte) ([]byte, error), get func(b []byte) error) {
	if f.err != nil {
		return
	}
	if f.reads {
		b, ok := f.take(tag)
		var err error
		switch {
		case ok:
			err = get(b)
		case n == must:
			err = errors.New("it is missing")
		}
		if err != nil {
			f.fail(tag, fmt.Errorf("%w: %w", ErrState, err))
		}
		return
	}
	if zero && n != must {
		return
	}
	f.out = binary.AppendUvarint(grow(f.out, shortField), tag<<1|n.mark())
	at := len(f.out)
	out, err := put(append(f.out, 0)) // most fields are short: one byte is enough for their length
	if len(out) > 0 && &out[0] != &f.out[0] {
		clear(f.out)
	}
	if err != nil {
		f.out = out
		f.fail(tag, err)
		return
	}
	out = grow(out, binary.MaxVarintLen64)
	if size := len(out) - at - 1; size < 1<<7 {
		out[at] = byte(size)
	} else {
		var length [binary.MaxVarintLen64]byte
		k := binary.PutUvarint(length[:], uint64(size))
		out = append(out, length[:k-1]...)
		copy(out[at+k:], out[at+1:at+1+size])
		copy(out[at:], length[:k])
	}
	f.out = out
}

func (f *form) uint(tag uint64, n need, v *uint64) {
	f.value(tag, n, *v == 0, func(b []byte) ([]byte, error) { return binary.AppendUvarint(b, *v), nil }, func(b []byte) error {
		x, k := binary.Uvarint(b)
		if k <= 0 || k != len(b) {
			return errors.New("no number")
		}
		*v = x
		return nil
	})
}

// number is uint for any kind of integer.
func number[T ~int | ~int32 | ~int64 | ~uint8 | ~uint32 | ~uint64](f *form, tag uint64, n need, v *T) {
	x := uint64(*v)
	f.uint(tag, n, &x)
	if f.reads && f.err == nil {
		if *v = T(x); uint64(*v) != x {
			f.fail(tag, fmt.Errorf("%w: %d is out of range", ErrState, x))
		}
	}
}

func (f *form) bool(tag uint64, n need, v *bool) {
	x := uint64(0)
	if *v {
		x = 1
	}
	f.uint(tag, n, &x)
	*v = x != 0
}

// bytes is a field of bytes; what is read is a part of the state.
func (f *form) bytes(tag uint64, n need, v *[]byte) {
	f.value(tag, n, len(*v) == 0, func(b []byte) ([]byte, error) { return append(b, *v...), nil }, func(b []byte) error {
		*v = b[:len(b):len(b)]
		return nil
	})
}

func text[T ~string](f *form, tag uint64, n need, v *T) {
	f.value(tag, n, *v == "", func(b []byte) ([]byte, error) { return append(b, *v...), nil }, func(b []byte) error {
		*v = T(b)
		return nil
	})
}

// raw is bytes for an encoded term, which may be missing.
func (f *form) raw(tag uint64, v *ei.Raw) {
	b := []byte(*v)
	f.bytes(tag, may, &b)
	if *v = b; len(b) == 0 {
		*v = nil
	}
}

// pid is a field with a pid in the external term format; the zero pid is empty.
func (f *form) pid(tag uint64, n need, v *ei.Pid) {
	f.value(tag, n, *v == ei.Pid{}, func(b []byte) ([]byte, error) {
		if *v == (ei.Pid{}) {
			return b, nil
		}
		return ei.AppendPid(b, *v)
	}, func(b []byte) error {
		if len(b) == 0 {
			*v = ei.Pid{}
			return nil
		}
		c := ei.NewCursor(b)
		c.Atoms = f.atoms
		p, err := c.Pid()
		if err == nil && c.Len() > 0 {
			err = errors.New("bytes behind the pid")
		}
		*v = p
		return err
	})
}

// ref is the same for a reference.
func (f *form) ref(tag uint64, n need, v *ei.Ref) {
	f.value(tag, n, *v == ei.Ref{}, func(b []byte) ([]byte, error) {
		if *v == (ei.Ref{}) {
			return b, nil
		}
		return ei.AppendRef(b, *v)
	}, func(b []byte) error {
		if len(b) == 0 {
			*v = ei.Ref{}
			return nil
		}
		c := ei.NewCursor(b)
		c.Atoms = f.atoms
		r, err := c.Ref()
		if err == nil && c.Len() > 0 {
			err = errors.New("bytes behind the reference")
		}
		*v = r
		return err
	})
}

// one is each for what there is one of, or none: nil.
func one[T any, P interface {
	*T
	describer
}](f *form, tag uint64, n need, name string, v **T) {
	var list []T
	if *v != nil {
		list = []T{**v}
	}
	each[T, P](f, tag, n, name, &list)
	switch {
	case !f.reads || f.err != nil || len(list) == 0:
	case len(list) == 1:
		*v = &list[0]
	default:
		f.fail(tag, fmt.Errorf("%w: there are %d", ErrState, len(list)))
	}
}

// each is a field that occurs once for each element, a record of its own. name is what an error calls it.
func each[T any, P interface {
	*T
	describer
}](f *form, tag uint64, n need, name string, list *[]T) {
	if !f.reads {
		for i := range *list {
			f.value(tag, n, false, func(b []byte) ([]byte, error) {
				inner := &form{out: b}
				P(&(*list)[i]).describe(inner)
				return inner.out, inner.err
			}, nil)
		}
		return
	}
	for {
		b, ok := f.take(tag)
		if !ok {
			return
		}
		inner := &form{reads: true, atoms: f.atoms, path: fmt.Sprintf("%s %d", name, len(*list)+1)}
		if f.path != "" {
			inner.path = f.path + ", " + inner.path
		}
		var v T
		inner.record(b, P(&v))
		if f.err = inner.err; f.err != nil {
			return
		}
		*list = append(*list, v)
	}
}
