package ei

import (
	"encoding/binary"
	"slices"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// A builder knows where the term being filled in belongs.
type builder struct {
	root   Term                   // the outermost term
	above  nested.Stack[building] // what the term being filled in is part of
	maps   nested.Stack[int]      // offsets of the maps among these, and of the one being filled in
	inKeys int                    // how many keys of maps the term being filled in is within
}

// A building is a term whose parts are being filled in: a Tuple, List, Map, Record or Fun, where
// each part has its place.
type building struct {
	t    Term
	left int // parts that are still to come
}

// inKey reports whether the part that was filled in last is the key of a map.
func (in *building) inKey() bool {
	_, ok := in.t.(Map)
	return ok && in.left%2 == 1
}

// replace puts t in the place of the term being filled in.
func (o *builder) replace(t Term) {
	if o.above.Empty() {
		o.root = t
		return
	}
	in := o.above.Last()
	switch c := in.t.(type) {
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

// fill fills in parts, up to one that is open (see open): that one. If there is none, its second
// result is -1.
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

// leaves decodes terms that cannot have parts into ts; it gives the number of those that are not
// done, because one may have parts.
func (d *decoder) leaves(ts []Term) (left int) {
	for i := range ts {
		if b := d.b[d.off:]; len(b) >= 5 && Tag(b[0]) == TagIntegerExt { // the quickest way, as there may be many
			d.off += 5
			ts[i] = d.int(int64(int32(binary.BigEndian.Uint32(b[1:]))))
			continue
		}
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
		o.maps.Push(d.off - 5)
	}
	return building{t: t, left: left}
}

// build completes the outermost term, which is in.
func (d *decoder) build(o *builder, in building) Term {
	for {
		t, left := d.fill(&in)
		if d.err != nil {
			return nil
		}
		if left >= 0 {
			if in.inKey() {
				o.inKeys++
			}
			o.above.Push(in)
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
			off, _ := o.maps.Pop()
			// Maps within keys are looked at together with the outermost map.
			if o.inKeys == 0 && d.keys.duplicate(c) {
				d.reject(off, ErrDuplicate)
			}
		}
		if in, _ = o.above.Pop(); in.t == nil || d.err != nil {
			return o.root
		}
		if in.inKey() {
			o.inKeys--
		}
	}
}

// tail goes on with a list whose elements, so far, are complete, and that does not end there. The
// tail can be a list again, where a program sent it piece by piece: the result is one list all the
// same. True means that more is to be filled in: elements of that list, or parts of another tail,
// which takes the list's place.
func (d *decoder) tail(o *builder, in *building, elems List) (more bool) {
	for {
		b := d.b[d.off:]
		switch Tag(b[0]) {
		case TagListExt:
			n := d.count32()
			if n == 0 {
				continue
			}
			elems = append(elems, make([]Term, n)...)
			in.t, in.left = elems, n
			o.replace(in.t)
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
			o.replace(elems)
			return false
		}
		t, left := d.next()
		o.replace(ImproperList{Elems: elems, Tail: t})
		if left < 0 {
			return false
		}
		*in = d.opened(o, t, left)
		return true
	}
}

// open decodes the beginning of a term that may have parts, and those parts of a tuple or a list
// that come before one that may have parts itself. It gives the number of the others; -1 if the
// term is complete.
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
