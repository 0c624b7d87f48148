package ei

import (
	"encoding/binary"
)

// A decoder makes the Go value of a term that a scanner has found well-formed.
type decoder struct {
	Cursor
	alias bool
	err   error // the first; what is decoded after it is dropped

	newAtoms, maxAtoms int       // allocated so far, and at most
	recent             [16]*Atom // atoms met, by a hash
	// atoms for which Atoms and recent have no place; nil while they are few
	own     *AtomTable
	emptied bool   // Atoms has been full in this term
	keys    keySet // for finding equal keys
	slabs
	large bool // a part was met that is too large for slabs
}

// leaf decodes a term that cannot have parts; any other one is left, with false.
func (d *decoder) leaf() (Term, bool) {
	off := d.off
	b := d.b[off:]
	switch tag := Tag(b[0]); tag {
	case TagSmallIntegerExt:
		d.off += 2
		return Int(b[1]), true
	case TagIntegerExt:
		d.off += 5
		return d.int(int64(int32(binary.BigEndian.Uint32(b[1:])))), true
	case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
		return d.atom(), true
	case TagSmallTupleExt, TagLargeTupleExt, TagListExt, TagMapExt, TagNewFunExt, TagFunExt,
		TagRecordExt:
		return nil, false
	case TagNilExt:
		d.off++
		return emptyList, true
	case TagStringExt:
		n := int(binary.BigEndian.Uint16(b[1:]))
		d.off += 3 + n
		if n == 0 {
			return emptyList, true
		}
		return d.text(b[3 : 3+n]), true
	case TagSmallBigExt, TagLargeBigExt:
		neg, mag, next, err := d.integerAt(off)
		d.done(next, err)
		if v, ok := int64FromWire(neg, mag); ok {
			return d.int(v), true
		}
		d.large = true
		return bigFromWire(neg, mag), true
	case TagNewFloatExt, TagFloatExt:
		f, next, err := d.floatAt(off)
		d.done(next, err)
		return floatAt(d.number(), f), true
	case TagBinaryExt:
		data, _, next, err := d.bitsAt(off)
		d.done(next, err)
		if len(data) == 0 {
			return emptyBinary, true
		}
		return d.binary(data), true
	case TagBitBinaryExt:
		data, bits, next, err := d.bitsAt(off)
		d.done(next, err)
		return Bitstring{Data: d.bits(data), Bits: bits}, true
	case TagExportExt:
		d.off++
		f := Export{Module: d.atomText(), Function: d.atomText()}
		f.Arity = d.b[d.off+1]
		d.off += 2
		return f, true
	}
	return d.ident(), true
}

// ident decodes an identifier.
func (d *decoder) ident() Term {
	off := d.off
	switch Tag(d.b[off]) {
	case TagNewPidExt, TagPidExt:
		return d.pid()
	case TagNewPortExt, TagV4PortExt, TagPortExt:
		d.off++
		node := d.atomText()
		p, next, err := d.portBody(off, d.off, node)
		d.done(next, err)
		return p
	case TagNewerReferenceExt, TagNewReferenceExt, TagReferenceExt:
		tag, words, at, err := d.refHead(off)
		d.done(at, err)
		node := d.atomText()
		r, next, err := d.refBody(off, d.off, tag, words, node)
		d.done(next, err)
		return r
	}
	d.reject(off, ErrTag)
	return nil
}

// done moves to next, past a part that was read. No error is possible after the scanner's walk;
// should there be one, the first is kept.
func (d *decoder) done(next int, err error) {
	d.off = next
	if err != nil && d.err == nil {
		d.err = err
	}
}

func (d *decoder) reject(off int, err error) { d.done(off, d.fail(off, err)) }

// count32 reads a tag and a count of 4 bytes.
func (d *decoder) count32() int {
	n := binary.BigEndian.Uint32(d.b[d.off+1:])
	d.off += 5
	return int(n)
}

func (d *decoder) int(v int64) Term {
	if uint64(v) < 256 { // it needs no memory
		return Int(v)
	}
	return intAt(d.number(), v)
}

func (d *decoder) text(data []byte) Term {
	if len(data) > slabBytes {
		d.large = true
		return String(data)
	}
	return d.header().text(d.copy(data))
}

func (d *decoder) binary(data []byte) Term {
	switch {
	case d.alias:
		return d.header().binary(data)
	case len(data) > slabBytes:
		return Binary(d.bits(data))
	}
	return d.header().binary(d.copy(data))
}

// bits gives the contents of a bitstring, copied unless they may be shared.
func (d *decoder) bits(data []byte) []byte {
	switch n := len(data); {
	case d.alias:
		return data
	case n == 0:
		return []byte{}
	case n > slabBytes:
		d.large = true
		c := make([]byte, len(data)) // with the next line together it is not cleared first
		copy(c, data)
		return c
	}
	return d.copy(data)
}

func (d *decoder) tuple(n int) (t Term, left int) {
	if n == 0 {
		return emptyTuple, -1
	}
	h, ts, left := d.elements(n)
	if left == 0 {
		left = -1
	}
	return h.tuple(ts), left
}

func (d *decoder) list(n int) (t Term, left int) {
	h, elems, left := d.elements(n)
	if left > 0 {
		return h.list(elems), left
	}
	switch Tag(d.b[d.off]) {
	case TagNilExt:
		d.off++
		return h.list(elems), -1
	case TagStringExt:
		return h.list(elems), 0
	}
	if t, ok := d.leaf(); ok {
		return ImproperList{Elems: elems, Tail: t}, -1
	}
	return h.list(elems), 0
}

// elements decodes those of n elements that come before one that may have parts itself. It gives
// the number of the others.
func (d *decoder) elements(n int) (h *header, ts []Term, left int) {
	if n > slabCells {
		h, ts = apart(n)
		return h, ts, d.leaves(ts)
	}
	room := d.room(n)
	d.large = false
	left = d.leaves(room)
	if left == 0 && !d.large {
		d.takeRoom(n)
		return d.header(), room, 0
	}
	h, ts = apart(n)
	copy(ts, room[:n-left])
	clear(room[:n-left])
	return h, ts, left
}

func (d *decoder) mapping() (t Term, left int) {
	n := d.count32()
	if n == 0 {
		return emptyMap, -1
	}
	return make(Map, n), 2 * n
}

func (d *decoder) pid() Pid {
	off := d.off
	d.off++
	node := d.atomText()
	p, next, err := d.pidBody(off, d.off, node)
	d.done(next, err)
	return p
}

func (d *decoder) newFun() (Term, int) {
	b := d.b[d.off:]
	f := Fun{Arity: int(b[5]), Index: binary.BigEndian.Uint32(b[22:])}
	copy(f.Uniq[:], b[6:22])
	free := int(binary.BigEndian.Uint32(b[26:]))
	d.off += newFunFixed
	f.Module = d.atomText()
	f.OldIndex = d.int64()
	f.OldUniq = d.int64()
	f.Pid = d.pid()
	if free == 0 {
		return f, -1
	}
	f.Free = make([]Term, free)
	return f, free
}

func (d *decoder) oldFun() (Term, int) {
	free := d.count32()
	f := Fun{Arity: -1, Pid: d.pid()}
	f.Module = d.atomText()
	f.OldIndex = d.int64()
	f.OldUniq = d.int64()
	if free == 0 {
		return f, -1
	}
	f.Free = make([]Term, free)
	return f, free
}

func (d *decoder) int64() int64 {
	v, err := d.Int()
	d.done(d.off, err)
	return v
}

func (d *decoder) record() (Term, int) {
	off := d.off
	n := int(binary.BigEndian.Uint32(d.b[off+1:]))
	r := Record{Exported: d.b[off+5]&recordExported != 0}
	d.off += 6
	r.Module = d.atomText()
	r.Name = d.atomText()
	r.Fields = make([]Field, n)
	for i := range r.Fields {
		r.Fields[i].Name = d.atomText()
	}
	if d.err == nil && duplicateField(r.Fields) {
		d.reject(off, ErrDuplicate)
	}
	if n == 0 {
		return r, -1
	}
	return r, n
}
