package ei

import "strconv"

// A scanner walks over a term before it is decoded: it checks it in full, so that decoding can only
// run into a limit, and measures what will be allocated.
type scanner struct {
	c *Cursor

	strict, records bool // see DecodeOptions

	cells int // elements of lists and tuples of slabCells or fewer
	bytes int // in binaries of slabBytes or fewer
}

// term checks the term at off and gives the offset after it.
func (s *scanner) term(off int) (int, error) {
	c := s.c
	for start, left := off, 1; left > 0; left-- {
		b := c.b[off:]
		if len(b) >= 2 && Tag(b[0]) == TagSmallIntegerExt { // the most frequent leaf
			off += 2
			continue
		}
		next, kids, err := c.head(off)
		if err == nil && s.strict && c.refused(off, s.records) {
			err = c.fail(off, ErrRefused)
		}
		if err != nil {
			return off, c.locate(start, off, err)
		}
		switch tag := Tag(b[0]); {
		case kids > 0:
			left += kids
			if tag == TagListExt { // its tail is no element
				kids--
			}
			if tag != TagMapExt && kids <= slabCells {
				s.cells += kids
			}
		case tag.IsBinary() && next-off-5 <= slabBytes:
			s.bytes += next - off - 5
		}
		off = next
	}
	return off, nil
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
	var above stack[counted]
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
			above.push(at)
			at = counted{left: kids, list: tag == TagListExt}
		default:
			for at.done++; at.left == 0; at.done++ {
				at, _ = above.pop()
			}
		}
	}
	for !above.empty() && len(e.Path) < maxPath {
		e.Path = "/" + strconv.Itoa(at.done) + e.Path
		at, _ = above.pop()
	}
	return e
}
