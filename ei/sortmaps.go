package ei

import (
	"slices"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// A mapSorter sorts all maps within terms by key, each once and from the innermost out, and finds
// keys that are equal on the way. So comparing sorts no map more than once: sorting during the
// comparison, with keys that are maps themselves, would take a time that a peer can drive up.
type mapSorter struct {
	duplicate bool // a map had two keys that are the same term (=:=)

	keys  comparer
	maps  map[*Pair]Map  // the maps that were not in order, by their first pair
	raws  map[*byte]Term // what was encoded
	above nested.Stack[level]
}

// newMapSorter gives a mapSorter, which may be used again; loose: see comparer.
func newMapSorter(loose bool) *mapSorter {
	s := &mapSorter{keys: comparer{exact: true, loose: loose}}
	s.keys.maps = s
	return s
}

// hasDuplicate reports whether two keys of m, or two keys of a map within its keys, are the same
// term.
func (s *mapSorter) hasDuplicate(m Map) bool {
	if len(m) == 1 && !hasParts(m[0].Key) {
		if _, ok := m[0].Key.(Raw); !ok {
			return false
		}
	}
	s.duplicate = false
	clear(s.maps)
	clear(s.raws)
	for i := range m {
		s.add(m[i].Key)
	}
	if s.duplicate || s.inOrder(m) {
		return s.duplicate
	}
	keys := make([]Term, len(m))
	for i := range m {
		keys[i] = m[i].Key
	}
	slices.SortFunc(keys, s.keys.compare)
	for i := 1; i < len(keys); i++ {
		if s.keys.compare(keys[i-1], keys[i]) == 0 {
			return true
		}
	}
	return false
}

// add sorts the maps in t.
func (s *mapSorter) add(t Term) {
	in := level{t: s.decoded(t)}
	for {
		if part, ok := in.next(); ok {
			if part = s.decoded(part); hasParts(part) {
				s.above.Push(in)
				in = level{t: part}
			}
			continue
		}
		if m, ok := in.t.(Map); ok {
			s.sort(m)
		}
		var ok bool
		if in, ok = s.above.Pop(); !ok {
			return
		}
	}
}

// decoded gives what a Raw holds.
func (s *mapSorter) decoded(t Term) Term {
	raw, ok := t.(Raw)
	if !ok || len(raw) == 0 {
		return t
	}
	if s.raws == nil {
		s.raws = map[*byte]Term{}
	}
	t = plain(raw)
	s.raws[&raw[0]] = t
	return t
}

// sort sorts one map, within which all are sorted.
func (s *mapSorter) sort(m Map) {
	order := func(x, y Pair) int { return s.keys.compare(x.Key, y.Key) }
	if !s.inOrder(m) {
		sorted := slices.Clone(m)
		slices.SortStableFunc(sorted, order)
		s.inOrder(sorted)
		if s.maps == nil {
			s.maps = map[*Pair]Map{}
		}
		s.maps[&m[0]] = sorted
	}
}

// inOrder reports whether the keys of m are in order, and sees whether two of them that follow each
// other are the same.
func (s *mapSorter) inOrder(m Map) bool {
	for i := 1; i < len(m); i++ {
		d := s.keys.compare(m[i-1].Key, m[i].Key)
		if d > 0 {
			return false
		}
		s.duplicate = s.duplicate || d == 0
	}
	return true
}

// sorted gives m with its keys in order.
func (s *mapSorter) sorted(m Map) Map {
	if len(m) > 1 {
		if sorted, ok := s.maps[&m[0]]; ok {
			return sorted
		}
	}
	return m
}
