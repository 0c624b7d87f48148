package ei

import (
	"slices"
	"strings"
)

// sortMaps gives t with all the maps in it sorted by key, from the innermost out, and whether it had any. So comparing sorts
// no map more than once: sorting on the way, where the keys are maps again, would take a time that a peer can drive up.
func sortMaps(t Term) (Term, bool) {
	switch v := t.(type) {
	case Tuple:
		out, found := sortAll(v)
		if !found {
			return t, false
		}
		return Tuple(out), true
	case List:
		out, found := sortAll(v)
		if !found {
			return t, false
		}
		return List(out), true
	case ImproperList:
		elems, found := sortAll(v.Elems)
		tail, foundTail := sortMaps(v.Tail)
		if !found && !foundTail {
			return t, false
		}
		return ImproperList{Elems: elems, Tail: tail}, true
	case Fun:
		free, found := sortAll(v.Free)
		if !found {
			return t, false
		}
		v.Free = free
		return v, true
	case Record:
		v.Fields = slices.Clone(v.Fields)
		for i := range v.Fields {
			v.Fields[i].Value, _ = sortMaps(v.Fields[i].Value)
		}
		slices.SortStableFunc(v.Fields, func(x, y Field) int { return strings.Compare(string(x.Name), string(y.Name)) })
		return v, true
	case Map:
		v = slices.Clone(v)
		for i := range v {
			v[i].Key, _ = sortMaps(v[i].Key)
			v[i].Value, _ = sortMaps(v[i].Value)
		}
		keys := comparer{exact: true, sorted: true}
		slices.SortStableFunc(v, func(x, y Pair) int { return keys.compare(x.Key, y.Key) })
		return v, true
	case Raw:
		if p := plain(v); rank(p) != rank(v) {
			p, _ = sortMaps(p)
			return p, true
		}
	}
	return t, false
}

// sortAll is sortMaps of each; the slice is copied when one of them changes.
func sortAll(ts []Term) ([]Term, bool) {
	out, found := ts, false
	for i, t := range ts {
		s, changed := sortMaps(t)
		if !changed {
			continue
		}
		if !found {
			out, found = slices.Clone(ts), true
		}
		out[i] = s
	}
	return out, found
}
