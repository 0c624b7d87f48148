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
	over     func() error // tells why to stop writing
	reads    bool
	out      []byte
	in       []run
	unsorted bool // their tags do not ascend
	next     int
	atoms    *ei.AtomTable
	cursor   ei.Cursor // of an identifier; here, lest each one allocates its own
	err      error
	spare    *Fields // for the records within this one, one after the other; nil: in use, or not made yet

	// For errors, of a record that is an element of a list of another one.
	within *Fields
	name   string
	number int
}

// A run are fields with the same tag, one behind the other, of a record that is read: a list may
// have a million elements.
type run struct {
	tag   uint64
	need  Need
	bytes []byte // of those that have not been taken, heads included
	count int
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
// error, Write gives up and returns that error. Any other error is an *Error, or that of a List. A
// d with a method Room says about how many bytes the state will take, which spares copying it as
// it grows.
func Write(over func() error, kind byte, d Describer) ([]byte, error) {
	room := 0
	if d, ok := d.(interface{ Room() int }); ok {
		room = d.Room()
	}
	f := &Fields{over: over, out: append(append(make([]byte, 0, shortField+room), Magic...), kind, Version)}
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

// shortField is the room that is made for a field before it is written: enough for any identifier,
// and beside the bytes of any field for its tag and length.
const shortField = 2 << 10

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
		tag, _, value, rest, err := nextField(b)
		switch {
		case err != nil:
			return all
		case tag == path[0] && len(path) == 1:
			all = append(all, value)
		case tag == path[0]:
			all = append(all, find(value, path[1:])...)
		}
		b = rest
	}
	return all
}

// nextField reads the first field of b.
func nextField(b []byte) (tag uint64, need Need, value, rest []byte, err error) {
	head, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, nil, nil, ErrMalformed
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size > uint64(len(b)-n-m) {
		return head >> 1, 0, nil, nil, fmt.Errorf("%w: a field of %d bytes in %d", ErrMalformed, size, len(b)-n)
	}
	rest = b[n+m:]
	return head >> 1, Need(head & 1), rest[:size], rest[size:], nil
}

// record reads the fields of one record.
func (f *Fields) record(b []byte, d Describer) {
	f.in, f.next, f.unsorted = f.in[:0], 0, false
	begin := b // of the last run
	for len(b) > 0 {
		tag, need, _, rest, err := nextField(b)
		if err != nil {
			f.fail(tag, err)
			return
		}
		last := len(f.in) - 1
		if last < 0 || f.in[last].tag != tag || f.in[last].need != need {
			f.unsorted = f.unsorted || last >= 0 && f.in[last].tag > tag
			f.in = append(f.in, run{tag: tag, need: need})
			begin, last = b, last+1
		}
		f.in[last].count++
		f.in[last].bytes = begin[:len(begin)-len(rest)]
		b = rest
	}
	d.Describe(f)
	for i := range f.in {
		if x := &f.in[i]; x.count > 0 && x.need == Must {
			f.fail(x.tag, fmt.Errorf("%w: a field that must be understood", ErrFormat))
		}
	}
}

// inner is for a record within this one: give it back to f.spare.
func (f *Fields) inner(name string) *Fields {
	x := f.spare
	if f.spare = nil; x == nil {
		x = new(Fields)
	}
	in, spare := x.in, x.spare
	*x = Fields{over: f.over, reads: f.reads, atoms: f.atoms, within: f, name: name, in: in, spare: spare}
	return x
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

// find finds the fields with a tag, of a record that is read; nil: there are none, or no more. As a
// rule fields are asked for in the order of their tags, and have been written in it.
func (f *Fields) find(tag uint64) *run {
	if f.err != nil {
		return nil
	}
	if f.next > 0 && (f.unsorted || f.in[f.next-1].tag >= tag) {
		f.next = 0
	}
	for ; f.next < len(f.in); f.next++ {
		switch x := &f.in[f.next]; {
		case x.tag == tag && x.count > 0:
			return x
		case x.tag > tag && !f.unsorted:
			return nil
		}
	}
	return nil
}

// take reads the next field with a tag: its value, a part of the state.
func (f *Fields) take(tag uint64, n Need) (value []byte, ok bool) {
	x := f.find(tag)
	if x == nil {
		if n == Must && f.err == nil {
			f.fail(tag, fmt.Errorf("%w: it is missing", ErrMalformed))
		}
		return nil, false
	}
	_, _, value, x.bytes, _ = nextField(x.bytes) // record has read it
	x.count--
	return value, true
}

// malformed notes that a field cannot be read.
func (f *Fields) malformed(tag uint64, why error) {
	f.fail(tag, fmt.Errorf("%w: %w", ErrMalformed, why))
}

// begin writes the head of a field, whose value follows, up to size bytes of it, and then end. It
// returns where the value begins.
func (f *Fields) begin(tag uint64, n Need, size int) (at int) {
	f.out = binary.AppendUvarint(grow(f.out, shortField+size), tag<<1|n.mark())
	f.out = append(f.out, 0) // most fields are short: one byte is enough for their length
	return len(f.out)
}

// end writes the length of a field whose value is written.
func (f *Fields) end(at int) {
	size := len(f.out) - at
	if size < 1<<7 {
		f.out[at-1] = byte(size)
		return
	}
	var length [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(length[:], uint64(size))
	f.out = append(grow(f.out, k), length[:k-1]...)
	copy(f.out[at-1+k:], f.out[at:at+size])
	copy(f.out[at-1:], length[:k])
}
