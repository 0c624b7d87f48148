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

}

// A builder knows where the term being filled in belongs.
type builder struct {
	root   Term            // the outermost term
	above  stack[building] // what the term being filled in is part of; the lowest one stands for root
	maps   stack[int]      // offsets of the maps among these, and of the one being filled in
	inKeys int             // how many keys of maps the term being filled in is within
}

// A building is a term whose parts are being filled in: a Tuple, List, Map, Record or Fun, the parts of which have their
// place; nil stands for builder.root.
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
func (o *builder) replace(in *building, t Term) {
	switch c := in.t.(type) {
	case nil:
		o.root = t
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

// fill fills in parts, up to one that is open (see open): that one. If there is none, its second result is -1.
func (d *decoder) fill(in *building) (t Term, left int) {
	switch c := in.t.(type) {
	case Tuple:
		return d.fillSlice(c, in)
	case List:
		return d.fillSlice(c, in)
	case Map:
		for in.left > 0 {
			t, left := d.next()
			p := &c[len(c)-(in.left+1)/2]
			if in.left%2 == 0 {
				p.Key = t
			} else {
				p.Value = t
			}
			if in.left--; left >= 0 || d.err != nil {
				return t, left
			}
		}
		return nil, -1
	case Fun:
		return d.fillSlice(c.Free, in)
	}
	fields := in.t.(Record).Fields
	for in.left > 0 {
		t, left := d.next()
		fields[len(fields)-in.left].Value = t
		if in.left--; left >= 0 || d.err != nil {
			return t, left
		}
	}
	return nil, -1
}

func (d *decoder) fillSlice(ts []Term, in *building) (t Term, left int) {
	for i := len(ts) - in.left; i < len(ts); i++ {
		t, left = d.next()
		ts[i] = t
		if left >= 0 || d.err != nil {
			in.left = len(ts) - i - 1
			return t, left
		}
	}
	in.left = 0
	return nil, -1
}

// next decodes the next term. If that is open, its second result is not negative.
func (d *decoder) next() (t Term, left int) {
	if t, ok := d.leaf(); ok {
		return t, -1
	}
	return d.open()
}

// leaves decodes terms that cannot have parts into ts; it gives the number of those that are not done, because one may have parts.
func (d *decoder) leaves(ts []Term) (left int) {
	for i := range ts {
		t, ok := d.leaf()
		if !ok || d.err != nil {
			return len(ts) - i
		}
		ts[i] = t
	}
	return 0
}

// term decodes the next term.
func (d *decoder) term() Term {
	t, left := d.next()
	if left < 0 || d.err != nil {
		return t
	}
	o := builder{root: t}
	return d.build(&o, d.opened(&o, t, left))
}

// opened gives the level of a term that open has just begun.
func (d *decoder) opened(o *builder, t Term, left int) building {
	if _, ok := t.(Map); ok {
		o.maps.push(d.off - 5)
	}
	return building{t: t, left: left}
}

// build completes the outermost term, which is in.
func (d *decoder) build(o *builder, in building) Term {
	o.above.push(building{})
	for {
		t, left := d.fill(&in)
		if d.err != nil {
			return nil
		}
		if left >= 0 {
			if in.inKey() {
				o.inKeys++
			}
			o.above.push(in)
			in = d.opened(o, t, left)
			continue
		}
		switch c := in.t.(type) {
		case List:
			if d.b[d.off] == byte(TagNilExt) {
				d.off++
			} else if d.tail(o, &in, c) {
				continue
			}
		case Map:
			off, _ := o.maps.pop()
			if o.inKeys == 0 && d.keys.duplicate(c) { // else they are looked at together with the outermost map
				d.reject(off, ErrDuplicate)
			}
		}
		if in, _ = o.above.pop(); in.t == nil || d.err != nil {
			return o.root
		}
		if in.inKey() {
			o.inKeys--
		}
	}
}

// tail goes on with a list whose elements, so far, are complete, and that does not end there. The tail can be a list again, where a
// program sent it piece by piece: the result is one list all the same. True means that more is to be filled in: elements of that list, or
// parts of another tail, which takes the list's place.
func (d *decoder) tail(o *builder, in *building, elems List) (more bool) {
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
			o.replace(o.above.last(), in.t)
			return true
		case TagNilExt:
			d.off++
			return false
		case TagStringExt:
			n := int(binary.BigEndian.Uint16(b[1:]))
			d.off += 3 + n
			elems = slices.Grow(elems, n)
			for _, x := range b[3 : 3+n] {
				elems = append(elems, Int(x))
			}
			o.replace(o.above.last(), elems)
			return false
		}
		t, left := d.next()
		o.replace(o.above.last(), ImproperList{Elems: elems, Tail: t})
		if left < 0 {
			return false
		}
		*in = d.opened(o, t, left)
		return true
	}
}

// open decodes the beginning of a term that may have parts, and those parts of a tuple or a list that come before one that may have parts
// itself. It gives the number of the others; -1 if the term is complete.
func (d *decoder) open() (t Term, left int) {
	for {
		switch Tag(d.b[d.off]) {
		case TagSmallTupleExt:
			n := int(d.b[d.off+1])
			d.off += 2
			return d.tuple(n)
		case TagLargeTupleExt:
			return d.tuple(d.count32())
		case TagListExt:
			if n := d.count32(); n > 0 {
				return d.list(n)
			}
			if t, ok := d.leaf(); ok { // without elements it stands for its tail
				return t, -1
			}
			continue
		case TagMapExt:
			return d.mapping()
		case TagNewFunExt:
			return d.newFun()
		case TagFunExt:
			return d.oldFun()
		case TagRecordExt:
			return d.record()
		}
		d.reject(d.off, ErrTag)
		return nil, -1
	}
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
		return Int(int32(binary.BigEndian.Uint32(b[1:]))), true
	case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
		return d.atom(), true
	case TagSmallTupleExt, TagLargeTupleExt, TagListExt, TagMapExt, TagNewFunExt, TagFunExt, TagRecordExt:
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
		return String(b[3 : 3+n]), true
	case TagSmallBigExt, TagLargeBigExt:
		neg, mag, next, err := d.integerAt(off)
		d.done(next, err)
		return bigFromWire(neg, mag), true
	case TagNewFloatExt, TagFloatExt:
		f, next, err := d.floatAt(off)
		d.done(next, err)
		return Float(f), true
	case TagBinaryExt:
		data, _, next, err := d.bitsAt(off)
		d.done(next, err)
		if len(data) == 0 {
			return emptyBinary, true
		}
		return Binary(d.bits(data)), true
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

func (d *decoder) tuple(n int) (t Term, left int) {
	if n == 0 {
		return emptyTuple, -1
	}
	ts := d.take(n)
	if left = d.leaves(ts); left == 0 {
		left = -1
	}
	return Tuple(ts), left
}

func (d *decoder) list(n int) (t Term, left int) {
	elems := d.take(n)
	if left = d.leaves(elems); left > 0 {
		return List(elems), left
	}
	switch Tag(d.b[d.off]) {
	case TagNilExt:
		d.off++
		return List(elems), -1
	case TagStringExt:
		return List(elems), 0
	}
	if t, ok := d.leaf(); ok {
		return ImproperList{Elems: elems, Tail: t}, -1
	}
	return List(elems), 0
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
	f.Free = d.take(free)
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
	f.Free = d.take(free)
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
	if n == 0 {
		return r, -1
	}
	return r, n
}
