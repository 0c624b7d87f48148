package ei

import "iter"

// Walk gives t and then all terms that it is made of, each before its own parts: elements and
// tails, keys and values, free variables of closures, fields of native records. A Raw is not looked
// into. The term may be as deep as memory allows: Walk does not recurse.
func Walk(t Term) iter.Seq[Term] {
	return func(yield func(Term) bool) {
		anyWithin(t, true, func(t Term) bool { return !yield(t) })
	}
}

// A level is a term whose parts are being visited: the elements of a tuple or a list (then the tail
// of an improper one), the free variables of a closure, the values of a record, the keys and values
// of a map in turn.
type level struct {
	t Term
	i int // how many parts have been visited
}

// next gives the next part; false if there is none.
func (l *level) next() (Term, bool) {
	i := l.i
	l.i++
	switch t := l.t.(type) {
	case Tuple:
		if i < len(t) {
			return t[i], true
		}
	case List:
		if i < len(t) {
			return t[i], true
		}
	case Map:
		if i < 2*len(t) {
			if i%2 == 0 {
				return t[i/2].Key, true
			}
			return t[i/2].Value, true
		}
	case ImproperList:
		if i < len(t.Elems) {
			return t.Elems[i], true
		}
		return t.Tail, i == len(t.Elems)
	case Record:
		if i < len(t.Fields) {
			return t.Fields[i].Value, true
		}
	case Fun:
		if i < len(t.Free) {
			return t.Free[i], true
		}
	}
	return nil, false
}

// inKey reports whether the part that was visited last is the key of a map.
func (l *level) inKey() bool {
	_, ok := l.t.(Map)
	return ok && l.i%2 == 1
}

// hasParts reports whether t is made of other terms.
func hasParts(t Term) bool {
	switch t := t.(type) {
	case Tuple:
		return len(t) > 0
	case List:
		return len(t) > 0
	case Map:
		return len(t) > 0
	case Fun:
		return len(t.Free) > 0
	case Record:
		return len(t.Fields) > 0
	case ImproperList:
		return true
	}
	return false
}

// isSameLevel reports whether two levels are of one and the same slice of parts.
func isSameLevel(a, b *level) bool {
	switch x := a.t.(type) {
	case Tuple:
		y, ok := b.t.(Tuple)
		return ok && isSameSlice(x, y)
	case List:
		y, ok := b.t.(List)
		return ok && isSameSlice(x, y)
	case Map:
		y, ok := b.t.(Map)
		return ok && isSameSlice(x, y)
	case ImproperList:
		y, ok := b.t.(ImproperList)
		return ok && isSameSlice(x.Elems, y.Elems)
	case Record:
		y, ok := b.t.(Record)
		return ok && isSameSlice(x.Fields, y.Fields)
	case Fun:
		y, ok := b.t.(Fun)
		return ok && isSameSlice(x.Free, y.Free)
	}
	return false
}

func isSameSlice[E any](a, b []E) bool {
	return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0]
}
