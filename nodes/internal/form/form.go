// Package form is the encoding in which the state of a connection, a node, a front or a worker is
// written, for another process to read: what Offer gives and Restore takes.
//
// A state begins with "cnode-state", a letter for its kind and the version of the format, 1. A
// record follows: fields, each of them
//
//	tag<<1 | mandatory   unsigned varint
//	length in bytes      unsigned varint
//	value
//
// A value is an unsigned varint, bytes, text, a pid or reference in the external term format
// (empty: none), or a record. A field that may occur several times is a list. A reader skips a
// field that it does not know, unless the field is mandatory: then it refuses the state. Tags are
// never reused.
package form

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// A Need says what becomes of a field that the reader does not know, and of one that is missing.
type Need uint64

const (
	May  Need = iota // a reader that does not know the field skips it; if it is missing it is zero
	Must             // a reader that does not know the field, or misses it, refuses the state
	// as Must, but the field is not written if it is zero; so if it is missing it is zero
	Given
)

// mark is the mandatory bit that a field is written with.
func (n Need) mark() uint64 { return uint64(min(n, Must)) }

// Fields are one record of a state, which is being written or read. The same description of the
// fields, a function that names each one, does both, so that writing and reading cannot differ.
type Fields struct {
	over  func() error // tells why to stop writing
	reads bool
	out   []byte
	in    []field
	next  int
	atoms *ei.AtomTable
	err   error

	// For errors, of a record that is an element of a list of another one.
	within *Fields
	name   string
	number int
}

// A field of a record that is read.
type field struct {
	tag   uint64
	need  Need
	value []byte
	used  bool
}

// A Describer names the fields of a record.
type Describer interface{ Describe(f *Fields) }

// The beginning of every state: what it is, and the version of the format. Fields come and go
// within a version; it changes when they cannot.
const (
	Magic   = "cnode-state"
	Version = 1
)

// atomTable bounds the node names that are kept once for all the identifiers of a state.
const atomTable = 1024

// Write encodes a whole state of some kind. When over, which is a context's Err, say, returns an
// error, Write gives up and returns that error. Any other error is an *Error.
func Write(over func() error, kind byte, d Describer) ([]byte, error) {
	f := &Fields{over: over, out: append([]byte(Magic), kind, Version)}
	d.Describe(f)
	if err := cmp.Or(over(), f.err); err != nil {
		clear(f.out)
		return nil, err
	}
	return f.out, nil
}

// grow makes room for more bytes. If that moves b, its old memory is cleared, for there may be keys
// in it.
func grow(b []byte, room int) []byte {
	if cap(b)-len(b) >= room {
		return b
	}
	grown := append(make([]byte, 0, 2*cap(b)+room), b...)
	clear(b)
	return grown
}

// shortField is the room that is made for a field before it is written: enough for any but a field
// of bytes.
const shortField = 1 << 10

// Read decodes what Write gives. Only fields whose comments say so keep parts of b. The error is an
// *Error.
func Read(kind byte, b []byte, d Describer) error {
	head := len(Magic) + 2
	switch {
	case len(b) < head || string(b[:len(Magic)]) != Magic:
		return &Error{Err: ErrMalformed}
	case b[head-2] != kind:
		return &Error{Err: fmt.Errorf("%w: of another kind (%q, not %q)", ErrMalformed, b[head-2], kind)}
	case b[head-1] != Version:
		return &Error{Err: fmt.Errorf("%w: %d, want %d", ErrFormat, b[head-1], Version)}
	}
	f := &Fields{reads: true, atoms: ei.NewAtomTable(atomTable)}
	f.record(b[head:], d)
	return f.err
}

// Kind is the kind of a whole state; 0: b is none, or one in another format.
func Kind(b []byte) byte {
	head := len(Magic) + 2
	if len(b) < head || string(b[:len(Magic)]) != Magic || b[head-1] != Version {
		return 0
	}
	return b[head-2]
}

// Find lists the values of a field of a whole state, as parts of b: path has the field's tag, after
// those of the records that it is in. The values of other fields are not looked at. What follows
// something malformed is not found.
func Find(b []byte, path ...uint64) [][]byte {
	if Kind(b) == 0 {
		return nil
	}
	return find(b[len(Magic)+2:], path)
}

func find(b []byte, path []uint64) (all [][]byte) {
	for len(b) > 0 {
		x, rest, err := nextField(b)
		switch {
		case err != nil:
			return all
		case x.tag == path[0] && len(path) == 1:
			all = append(all, x.value)
		case x.tag == path[0]:
			all = append(all, find(x.value, path[1:])...)
		}
		b = rest
	}
	return all
}

// nextField reads the first field of b.
func nextField(b []byte) (x field, rest []byte, err error) {
	head, n := binary.Uvarint(b)
	if n <= 0 {
		return field{}, nil, ErrMalformed
	}
	x = field{tag: head >> 1, need: Need(head & 1)}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size > uint64(len(b)-n-m) {
		return x, nil, fmt.Errorf("%w: a field of %d bytes in %d", ErrMalformed, size, len(b)-n)
	}
	rest = b[n+m:]
	x.value = rest[:size]
	return x, rest[size:], nil
}

// record reads the fields of one record.
func (f *Fields) record(b []byte, d Describer) {
	f.in, f.next = f.in[:0], 0
	for len(b) > 0 && f.err == nil {
		x, rest, err := nextField(b)
		if err != nil {
			f.fail(x.tag, err)
			return
		}
		f.in = append(f.in, x)
		b = rest
	}
	d.Describe(f)
	for _, x := range f.in {
		if !x.used && x.need == Must {
			f.fail(x.tag, ErrField)
		}
	}
}

// path says where the record is in the state, as "mailbox 3, message 7".
func (f *Fields) path() string {
	if f.within == nil {
		return ""
	}
	path := fmt.Sprintf("%s %d", f.name, f.number)
	if outer := f.within.path(); outer != "" {
		return outer + ", " + path
	}
	return path
}

func (f *Fields) fail(tag uint64, err error) {
	if f.err == nil {
		path := f.path()
		if tag != 0 {
			if path != "" {
				path += ", "
			}
			path += fmt.Sprintf("field %d", tag)
		}
		f.err = &Error{path, err}
	}
}

// take finds the next field with a tag.
func (f *Fields) take(tag uint64) ([]byte, bool) {
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

// value reads or writes one field. put appends it, get reads it; zero says that the value is zero,
// so that it is not written unless the field is a Must.
func (f *Fields) value(tag uint64, n Need, zero bool, put func(b []byte) ([]byte, error), get func(b []byte) error) {
	if f.err != nil {
		return
	}
	if f.reads {
		b, ok := f.take(tag)
		var err error
		switch {
		case ok:
			err = get(b)
		case n == Must:
			err = errors.New("it is missing")
		}
		if err != nil {
			f.fail(tag, fmt.Errorf("%w: %w", ErrMalformed, err))
		}
		return
	}
	if zero && n != Must {
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
