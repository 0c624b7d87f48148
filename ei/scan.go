package ei

import (
	"encoding/binary"
	"strconv"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// A scanner walks over a term before it is decoded: it checks it in full, so that decoding can only
// run into a limit, and measures what will be allocated.
type scanner struct {
	c *Cursor

	strict, records bool // see DecodeOptions

	counts
	parts  int // terms in other terms
	others int // those that usual does not count
}

// whole checks the next term, and its length, and gives the offset after it.
func (s *scanner) whole(o *DecodeOptions) (int, error) {
	end, err := s.term(s.c.off)
	if err == nil && end-s.c.off > o.Limits.Bytes {
		err = s.c.fail(s.c.off, &LimitError{Limit: "Bytes", Max: o.Limits.Bytes})
	}
	return end, err
}

// term checks the term at off and gives the offset after it.
func (s *scanner) term(off int) (int, error) {
	c := s.c
	for start, left := off, 1; left > 0; left-- {
		b := c.b[off:]
		if len(b) >= 5 && Tag(b[0]) == TagIntegerExt { // the quickest way, as there may be many
			s.numbers++
			off += 5
			continue
		}
		if next, kids := s.usual(b); next > 0 {
			off, left = off+next, left+kids
			continue
		}
		next, kids, err := c.head(off)
		if err == nil && s.strict && c.refused(off, s.records) {
			err = c.fail(off, ErrRefused)
		}
		if err != nil {
			return off, c.locate(start, off, err)
		}
		s.others++
		s.parts += kids
		if Tag(c.b[off]) == TagSmallBigExt {
			s.numbers++
		}
		off, left = next, left+kids
	}
	return off, nil
}

// usual is Cursor.head for the terms that most messages are made of, at the start of b, and counts
// them: their length, 0 for any other term and for one that is not well-formed. No runtime system
// refuses them.
func (s *scanner) usual(b []byte) (next, kids int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch n := int(b[1]); Tag(b[0]) {
	case TagSmallIntegerExt:
		return 2, 0
	case TagNilExt:
		return 1, 0
	case TagNewFloatExt:
		if len(b) >= 9 && isFinite(binary.BigEndian.Uint64(b[1:])) {
			s.numbers++
			return 9, 0
		}
	case TagSmallAtomUTF8Ext:
		if n <= len(b)-2 && isASCII(b[2:2+n]) {
			s.atom(n)
			return 2 + n, 0
		}
	case TagNewPidExt:
		if Tag(b[1]) == TagSmallAtomUTF8Ext && len(b) > 2 {
			if n := int(b[2]); n <= len(b)-15 && isASCII(b[3:3+n]) {
				s.atom(n)
				return 15 + n, 0
			}
		}
	case TagBinaryExt:
		if len(b) >= 5 {
			if n := uint64(binary.BigEndian.Uint32(b[1:])); n <= uint64(len(b)-5) {
				if n <= slabBytes {
					s.headers++
					s.bytes += int(n)
				}
				return 5 + int(n), 0
			}
		}
	case TagSmallTupleExt:
		if n <= len(b)-2 {
			s.sequence(n)
			return 2, n
		}
	case TagListExt:
		if len(b) >= 5 {
			if n := uint64(binary.BigEndian.Uint32(b[1:])); n < uint64(len(b)-5) {
				s.sequence(int(n))
				return 5, int(n) + 1
			}
		}
	}
	return 0, 0
}

// atom counts an atom with a text of n bytes.
func (s *scanner) atom(n int) {
	if s.atoms++; s.c.Atoms == nil && n <= slabBytes {
		s.headers++
		s.bytes += n
	}
}

// sequence counts a list or tuple of n elements.
func (s *scanner) sequence(n int) {
	s.parts += n
	if n > 0 && n <= slabCells {
		s.cells += n
		s.headers++
	}
}

// maxPath bounds the path that an error tells, in bytes; a longer path lacks its outermost part.
const maxPath = 256

// locate adds to err, about the term at off, the way there from the term at start. All before it is
// well-formed.
func (c *Cursor) locate(start, off int, err error) error {
	e, ok := err.(*SyntaxError)
	if !ok {
		return err
	}
	type counted struct {
		left, done int // parts
		list       bool
	}
	var above nested.Stack[counted]
	at := counted{left: 1}
	for pos := start; pos < off; {
		next, kids, _ := c.head(pos)
		tag := Tag(c.b[pos])
		pos = next
		switch at.left--; {
		case kids > 0 && tag == TagListExt && at.list && at.left == 0:
			// A list as the tail goes on with the same list.
			at.left = kids
		case kids > 0:
			above.Push(at)
			at = counted{left: kids, list: tag == TagListExt}
		default:
			for at.done++; at.left == 0; at.done++ {
				at, _ = above.Pop()
			}
		}
	}
	for !above.Empty() && len(e.Path) < maxPath {
		e.Path = "/" + strconv.Itoa(at.done) + e.Path
		at, _ = above.Pop()
	}
	return e
}

// memory is what the tree of a term takes that the scanner has walked through, which has so many
// bytes.
func (s *scanner) memory(bytes int) int {
	const cell, head, number, other = 16, 24, 8, 64
	return cell*s.parts + head*s.headers + number*s.numbers + other*s.others + bytes + bytes/8
}
