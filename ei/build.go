package ei

import (
	"encoding/binary"
	"slices"
)

// Small lists and tuples of one term share slabs of memory, as do small binaries: one allocation for many. A small part that lives on
// keeps its slab from being freed: the sizes bound that to a few kilobytes.
const (
	slabCells    = 32   // elements in a list or tuple that is put in a slab
	slabBytes    = 64   // bytes in a binary that is put in a slab
	slabMaxCells = 256  // elements of a slab
	slabMaxBytes = 2048 // bytes of a slab
)

// Empty terms, made once: a slice of no elements in an interface would be allocated each time.
var (
	emptyList   Term = List{}
	emptyTuple  Term = Tuple{}
	emptyMap    Term = Map{}
	emptyBinary Term = Binary{}
)

// A decoder makes the Go value of a term that a scanner has found well-formed.
type decoder struct {
	Cursor
	alias bool
	err   error // the first; what is decoded after it is dropped

	newAtoms, maxAtoms int        // allocated so far, and at most
	recent             [16]Term   // atoms met, by a hash
	own                *AtomTable // atoms for which Atoms and recent have no place; nil while they are few
	emptied            bool       // Atoms has been full in this term
	keys               keySet     // for finding equal keys
	keyDepth           int        // how many keys of maps this term is within
	cells, bytes       int        // that are still to be put in slabs
	cellSlab           []Term     // the unused part
	byteSlab           []byte     // the unused part
}

// term decodes the next term.
func (d *decoder) term() Term {
	off := d.off
	b := d.b[off:]
	switch tag := Tag(b[0]); tag {
	case TagSmallIntegerExt:
		d.off += 2
		return Int(b[1])
	case TagIntegerExt:
		d.off += 5
		return Int(int32(binary.BigEndian.Uint32(b[1:])))
	case TagSmallBigExt, TagLargeBigExt:
		neg, mag, next, err := d.integerAt(off)
		d.done(next, err)
		return bigFromWire(neg, mag)
	case TagNewFloatExt, TagFloatExt:
		f, next, err := d.floatAt(off)
		d.done(next, err)
		return Float(f)
	case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
		return d.atom()
	case TagSmallTupleExt:
		d.off += 2
		return d.tuple(int(b[1]))
	case TagLargeTupleExt:
		return d.tuple(d.count32())
	case TagNilExt, TagStringExt, TagListExt:
		return d.list()
	case TagMapExt:
		return d.mapping()
	case TagBinaryExt:
		data, _, next, err := d.bitsAt(off)
		d.done(next, err)
		if len(data) == 0 {
			return emptyBinary
		}
		return Binary(d.bits(data))
	case TagBitBinaryExt:
		data, bits, next, err := d.bitsAt(off)
		d.done(next, err)
		return Bitstring{Data: d.bits(data), Bits: bits}
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
	case TagExportExt:
		d.off++
		f := Export{Module: d.atomText(), Function: d.atomText()}
		f.Arity = d.b[d.off+1]
		d.off += 2
		return f
	case TagNewFunExt:
		return d.newFun()
	case TagFunExt:
		return d.oldFun()
	case TagRecordExt:
		return d.record()
	}
	d.reject(off, ErrTag)
	return nil
}

// done moves to next, past a part that was read. No error is possible after the scanner's walk; should there be one, the first is kept.
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

// take gives a slice of n elements, from the slab when n is small.
func (d *decoder) take(n int) []Term {
	if n > slabCells {
		return make([]Term, n)
	}
	if len(d.cellSlab) < n {
		d.cellSlab = make([]Term, max(n, min(d.cells, slabMaxCells)))
	}
	s := d.cellSlab[:n:n]
	d.cellSlab = d.cellSlab[n:]
	d.cells -= n
	return s
}

// bits gives the contents of a binary, copied unless they may be shared.
func (d *decoder) bits(data []byte) []byte {
	n := len(data)
	switch {
	case d.alias:
		return data
	case n == 0:
		return []byte{}
	}
	if n > slabBytes {
		return append(make([]byte, 0, n), data...)
	}
	if len(d.byteSlab) < n {
		d.byteSlab = make([]byte, max(n, min(d.bytes, slabMaxBytes)))
	}
	s := d.byteSlab[:n:n]
	d.byteSlab = d.byteSlab[n:]
	d.bytes -= n
	copy(s, data)
	return s
}

func (d *decoder) tuple(n int) Term {
	if n == 0 {
		return emptyTuple
	}
	t := d.take(n)
	for i := range t {
		t[i] = d.term()
		if d.err != nil {
			return nil
		}
	}
	return Tuple(t)
}

// list decodes a list in any form. The tail of a list can be a list again, where a program sent it piece by piece: the
// result is one list all the same.
func (d *decoder) list() Term {
	var elems []Term
	for {
		b := d.b[d.off:]
		switch Tag(b[0]) {
		case TagNilExt:
			d.off++
			if elems == nil {
				return emptyList
			}
			return List(elems)
		case TagStringExt:
			n := int(binary.BigEndian.Uint16(b[1:]))
			d.off += 3 + n
			text := b[3 : 3+n]
			if elems == nil {
				if n == 0 {
					return emptyList
				}
				return String(text)
			}
			elems = slices.Grow(elems, n)
			for _, x := range text {
				elems = append(elems, Int(x))
			}
			return List(elems)
		case TagListExt:
			n := d.count32()
			if elems == nil {
				if n > 0 {
					elems = d.take(n)[:0]
				}
			} else if n <= slabCells {
				d.cells -= n
			}
			for range n {
				elems = append(elems, d.term())
				if d.err != nil {
					return nil
				}
			}
		default:
			tail := d.term()
			if elems == nil {
				return tail
			}
			return ImproperList{Elems: elems, Tail: tail}
		}
	}
}

func (d *decoder) mapping() Term {
	off := d.off
	n := d.count32()
	if n == 0 {
		return emptyMap
	}
	if d.keyDepth++; d.keyDepth > maxKeyDepth {
		d.reject(off, &LimitError{Limit: "map keys within map keys", Max: maxKeyDepth})
		return nil
	}
	m := make(Map, n)
	depth := d.keyDepth
	for i := range m {
		d.keyDepth = depth
		m[i].Key = d.term()
		d.keyDepth = depth - 1
		m[i].Value = d.term()
		if d.err != nil {
			return nil
		}
	}
	if depth == 1 && d.keys.duplicate(m) {
		d.reject(off, ErrDuplicate)
		return nil
	}
	return m
}

func (d *decoder) pid() Pid {
	off := d.off
	d.off++
	node := d.atomText()
	p, next, err := d.pidBody(off, d.off, node)
	d.done(next, err)
	return p
}

func (d *decoder) newFun() Term {
	b := d.b[d.off:]
	f := Fun{Arity: int(b[5]), Index: binary.BigEndian.Uint32(b[22:])}
	copy(f.Uniq[:], b[6:22])
	free := int(binary.BigEndian.Uint32(b[26:]))
	d.off += newFunFixed
	f.Module = d.atomText()
	f.OldIndex = d.int64()
	f.OldUniq = d.int64()
	f.Pid = d.pid()
	f.Free = d.free(free)
	return f
}

func (d *decoder) oldFun() Term {
	free := d.count32()
	f := Fun{Arity: -1, Pid: d.pid()}
	f.Module = d.atomText()
	f.OldIndex = d.int64()
	f.OldUniq = d.int64()
	f.Free = d.free(free)
	return f
}

func (d *decoder) free(n int) []Term {
	if n == 0 {
		return nil
	}
	free := d.take(n)
	for i := range free {
		free[i] = d.term()
		if d.err != nil {
			return nil
		}
	}
	return free
}

func (d *decoder) int64() int64 {
	v, err := d.Int()
	d.done(d.off, err)
	return v
}

func (d *decoder) record() Term {
	off := d.off
	n := int(binary.BigEndian.Uint32(d.b[off+1:]))
	r := Record{Flags: d.b[off+5]}
	d.off += 6
	r.Module = d.atomText()
	r.Name = d.atomText()
	r.Fields = make([]Field, n)
	for i := range r.Fields {
		r.Fields[i].Name = d.atomText()
	}
	for i := range r.Fields {
		r.Fields[i].Value = d.term()
		if d.err != nil {
			return nil
		}
	}
	if duplicateField(r.Fields) {
		d.reject(off, ErrDuplicate)
		return nil
	}
	return r
}
