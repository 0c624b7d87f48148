package ei

import "slices"

// A mapSorter sorts maps by key, and finds keys that are equal on the way.
type mapSorter struct {
	duplicate bool // a map had two keys that are the same term (=:=)
}

// term gives t with all the maps in it sorted, from the innermost out, and whether it had any. So comparing sorts no map more than once:
// sorting during the comparison, with keys that are maps themselves, would take a time that a peer can drive up.
func (s *mapSorter) term(t Term) (Term, bool) {
	switch v := t.(type) {
	case Tuple:
		out, found := mapped(v, s.term)
		if !found {
			return t, false
		}
		return out, true
	case List:
		out, found := mapped(v, s.term)
		if !found {
			return t, false
		}
		return out, true
	case ImproperList:
		elems, found := mapped(v.Elems, s.term)
		tail, foundTail := s.term(v.Tail)
		if !found && !foundTail {
			return t, false
		}
		return ImproperList{Elems: elems, Tail: tail}, true
	case Fun:
		free, found := mapped(v.Free, s.term)
		if !found {
			return t, false
		}
		v.Free = free
		return v, true
	case Record:
		v.Fields = slices.Clone(v.Fields)
		for i := range v.Fields {
			v.Fields[i].Value, _ = s.term(v.Fields[i].Value)
		}
		return v, true
	case Map:
		v = slices.Clone(v)
		for i := range v {
			v[i].Key, _ = s.term(v[i].Key)
			v[i].Value, _ = s.term(v[i].Value)
		}
		keys := comparer{exact: true, sorted: true}
		slices.SortStableFunc(v, func(x, y Pair) int { return keys.compare(x.Key, y.Key) })
		for i := 1; i < len(v) && !s.duplicate; i++ {
			s.duplicate = keys.compare(v[i-1].Key, v[i].Key) == 0
		}
		return v, true
	case Raw:
		if p := plain(v); rank(p) != rank(v) {
			p, _ = s.term(p)
			return p, true
		}
	}
	return t, false
}
