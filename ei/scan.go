package ei

import "strconv"

// A scanner walks over a term before it is decoded: it checks it in full, so that decoding can only run into a limit,
// and measures what will be allocated.
type scanner struct {
	c     *Cursor
	depth int // how many levels may still be opened
	max   int // of depth

	strict, records bool // see DecodeOptions

	cells int // elements of lists and tuples of slabCells or fewer
	bytes int // in binaries of slabBytes or fewer
}

// term checks the term at off and gives the offset after it.
func (s *scanner) term(off int) (int, error) {
	for base, tail := 0, -1; ; { // once for each piece of a list; tail is the index of a tail that is not a list, else -1
		b := s.c.b[off:]
		if len(b) >= 2 && Tag(b[0]) == TagSmallIntegerExt { // the most frequent leaf
			return off + 2, nil
		}
		next, kids, err := s.c.head(off)
		if err == nil && s.strict && s.c.refused(off, s.records) {
			err = s.c.fail(off, ErrRefused)
		}
		if err != nil || kids == 0 {
			switch n := next - off - 5; {
			case err != nil:
			case Tag(b[0]).IsBinary() && n <= slabBytes:
				s.bytes += n
			case Tag(b[0]) == TagNewFunExt:
				err = s.closed(off, next)
			}
			return next, under(err, tail)
		}
		if s.depth--; s.depth < 0 {
			return off, under(s.c.fail(off, &LimitError{Limit: "Depth", Max: s.max}), tail)
		}
		tag := Tag(b[0])
		n := kids
		if tag == TagListExt { // its tail is no deeper
			n--
		}
		if tag != TagMapExt && n <= slabCells {
			s.cells += n
		}
		start := off
		off = next
		for i := range n {
			if off, err = s.term(off); err != nil {
				return off, under(under(err, base+i), tail)
			}
		}
		s.depth++
		switch tag {
		case TagListExt:
			if off < len(s.c.b) && Tag(s.c.b[off]) == TagNilExt {
				off++
				break
			}
			if base += n; off < len(s.c.b) && Tag(s.c.b[off]) != TagListExt {
				base, tail = 0, base
			}
			continue // with the tail in place of the list
		case TagNewFunExt:
			if err := s.closed(start, off); err != nil {
				return off, under(err, tail)
			}
		}
		return off, nil
	}
}

// closed checks that a closure has the size that it announces.
func (s *scanner) closed(start, end int) error {
	if end != s.c.funEnd(start) {
		return s.c.fail(start, ErrMalformed)
	}
	return nil
}

// under puts the index of an element before the path of an error; an index of -1 changes nothing.
func under(err error, i int) error {
	if e, ok := err.(*SyntaxError); ok && i >= 0 && len(e.Path) < maxPath {
		e.Path = "/" + strconv.Itoa(i) + e.Path
	}
	return err
}

// maxPath bounds the path that an error tells, in bytes; a longer path lacks its outermost part.
const maxPath = 256
