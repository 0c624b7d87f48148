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
	cells, bytes       int        // that are still to be put in slabs
	cellSlab           []Term     // the unused part
	byteSlab           []byte     // the unused part

	root   Term            // the outermost term
	above  stack[building] // what the term being filled in is part of; the lowest one stands for root
	maps   stack[int]      // offsets of the maps among these, and of the one being filled in
	inKeys int             // how many keys of maps the term being filled in is within
}

// A building is a term whose parts are being filled in: a Tuple, List, Map, Record or Fun, the parts of which have their
// place; nil stands for decoder.root.
type building struct {
	t    Term
	left int // parts that are still to come
}

// inKey reports whether the part that was filled in last is the key of a map.
func (in *building) inKey() bool {
	_, ok := in.t.(Map)
	return ok && in.left%2 == 1
}

// replace puts t in the place of the part that was filled in last.
func (d *decoder) replace(in *building, t Term) {
	switch c := in.t.(type) {
	case nil:
		d.root = t
	case Tuple:
		c[len(c)-in.left-1] = t
	case List:
		c[len(c)-in.left-1] = t
	case Map:
		if in.left%2 == 1 {
			c[len(c)-in.left/2-1].Key = t
		} else {
			c[len(c)-in.left/2-1].Value = t
		}
	case Fun:
		c.Free[len(c.Free)-in.left-1] = t
	case Record:
		c.Fields[len(c.Fields)-in.left-1].Value = t
	}
}

// fill fills in parts, up to one that has parts itself: that one, and their number. It fills in the last one if it gives 0.
func (d *decoder) fill(in *building) (t Term, parts int) {
	switch c := in.t.(type) {
	case Tuple:
		return d.fillSlice(c, in)
	case List:
		return d.fillSlice(c, in)
	case Map:
		for in.left > 0 && parts == 0 && d.err == nil {
			t, parts = d.next()
			p := &c[len(c)-(in.left+1)/2]
			if in.left%2 == 0 {
				p.Key = t
			} else {
				p.Value = t
			}
			in.left--
		}
		return t, parts
	case Fun:
		return d.fillSlice(c.Free, in)
	}
	for in.left > 0 && parts == 0 && d.err == nil {
		t, parts = d.next()
		in.left--
		d.replace(in, t)
	}
	return t, parts
}

func (d *decoder) fillSlice(ts []Term, in *building) (t Term, parts int) {
	for i := len(ts) - in.left; i < len(ts); i++ {
		t, parts = d.next()
		ts[i] = t
		if parts > 0 || d.err != nil {
			in.left = len(ts) - i - 1
			return t, parts
		}
	}
	in.left = 0
	return nil, 0
}

// term decodes the next term.
func (d *decoder) term() Term {
	in := building{left: 1}
	for {
		t, parts := d.fill(&in)
		if d.err != nil {
			return nil
		}
		if parts > 0 {
			if in.inKey() {
				d.inKeys++
			}
			d.above.push(in)
			in = building{t: t, left: parts}
			continue
		}
		switch c := in.t.(type) {
		case nil:
			return d.root
		case List:
			if d.b[d.off] == byte(TagNilExt) {
				d.off++
			} else {
				d.tail(&in, c)
				if in.left > 0 {
					continue
				}
			}
		case Map:
			off, _ := d.maps.pop()
			if d.inKeys == 0 && d.keys.duplicate(c) { // else they are looked at together with the outermost map
				d.reject(off, ErrDuplicate)
			}
		}
		if d.err != nil {
			return nil
		}
		in, _ = d.above.pop()
		if in.inKey() {
			d.inKeys--
		}
	}
}

// tail goes on with a list whose elements, so far, are complete, and that does not end there. The tail can be a list again, where a
// program sent it piece by piece: the result is one list all the same. If the tail has parts, they are next, and in is the tail.
func (d *decoder) tail(in *building, elems List) {
	for {
		b := d.b[d.off:]
		switch Tag(b[0]) {
		case TagListExt:
			n := d.count32()
			if n == 0 {
				continue
			}
			if n <= slabCells {
				d.cells -= n
			}
			elems = append(elems, make([]Term, n)...)
			in.t, in.left = elems, n
		case TagNilExt:
			d.off++
			return
		case TagStringExt:
			n := int(binary.BigEndian.Uint16(b[1:]))
			d.off += 3 + n
			elems = slices.Grow(elems, n)
			for _, x := range b[3 : 3+n] {
				elems = append(elems, Int(x))
			}
			in.t = elems
		default:
			t, parts := d.next()
			in.t, in.left = t, parts
			d.replace(d.above.last(), ImproperList{Elems: elems, Tail: t})
			return
		}
		d.replace(d.above.last(), in.t)
		return
	}
}

// next decodes the next term, except for its parts; it gives their number.
func (d *decoder) next() (t Term, parts int) {
	for {
		off := d.off
		b := d.b[off:]
		switch tag := Tag(b[0]); tag {
		case TagSmallIntegerExt:
			d.off += 2
			return Int(b[1]), 0
		case TagIntegerExt:
			d.off += 5
			return Int(int32(binary.BigEndian.Uint32(b[1:]))), 0
		case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
			return d.atom(), 0
		case TagSmallTupleExt:
			d.off += 2
			return d.tuple(int(b[1]))
		case TagLargeTupleExt:
			return d.tuple(d.count32())
		case TagNilExt:
			d.off++
			return emptyList, 0
		case TagListExt:
			n := d.count32()
			if n == 0 { // it stands for its tail
				continue
			}
			return List(d.take(n)), n
		case TagMapExt:
			return d.mapping()
		case TagNewFunExt:
			return d.newFun()
		case TagFunExt:
			return d.oldFun()
		case TagRecordExt:
			return d.record()
		}
		return d.leaf(), 0
	}
}

// leaf decodes a term that has no parts.
func (d *decoder) leaf() Term {
	off := d.off
	b := d.b[off:]
	switch tag := Tag(b[0]); tag {
	case TagStringExt:
		n := int(binary.BigEndian.Uint16(b[1:]))
		d.off += 3 + n
		if n == 0 {
			return emptyList
		}
		return String(b[3 : 3+n])
	case TagSmallBigExt, TagLargeBigExt:
		neg, mag, next, err := d.integerAt(off)
		d.done(next, err)
		return bigFromWire(neg, mag)
	case TagNewFloatExt, TagFloatExt:
		f, next, err := d.floatAt(off)
		d.done(next, err)
		return Float(f)
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

func (d *decoder) tuple(n int) (Term, int) {
	if n == 0 {
		return emptyTuple, 0
	}
	return Tuple(d.take(n)), n
}

func (d *decoder) mapping() (Term, int) {
	off := d.off
	n := d.count32()
	if n == 0 {
		return emptyMap, 0
	}
	d.maps.push(off)
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
	f.Free = d.free(free)
	return f, free
}

func (d *decoder) oldFun() (Term, int) {
	free := d.count32()
	f := Fun{Arity: -1, Pid: d.pid()}
	f.Module = d.atomText()
	f.OldIndex = d.int64()
	f.OldUniq = d.int64()
	f.Free = d.free(free)
	return f, free
}

func (d *decoder) free(n int) []Term {
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) int64() int64 {
	v, err := d.Int()
	d.done(d.off, err)
	return v
}

func (d *decoder) record() (Term, int) {
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
	if d.err == nil && duplicateField(r.Fields) {
		d.reject(off, ErrDuplicate)
	}
	return r, n
}
