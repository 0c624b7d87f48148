package ei

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
)

// fewKeys is a number of keys for which comparing each with each is the fastest.
const fewKeys = 8

// A keySet finds equal keys. Its memory is used again for the next map.
type keySet struct {
	seed  maphash.Seed
	slots []int32 // 1 + index of a key, by open addressing

	composite *mapSorter // for maps with keys that are made of other terms
}

// duplicate reports whether two keys of m, or two keys of a map within its keys, are the same term
// (=:=). Maps within keys are checked together with the outermost map, once, and not again on each
// level.
func (s *keySet) duplicate(m Map) bool {
	if len(m) > math.MaxInt32/4 || slices.ContainsFunc(m, func(p Pair) bool { return isComposite(p.Key) }) {
		if s.composite == nil {
			s.composite = newMapSorter(false)
		}
		return s.composite.hasDuplicate(m)
	}
	if len(m) <= fewKeys {
		for i := range m {
			if isKey(m[:i], m[i].Key) {
				return true
			}
		}
		return false
	}
	if s.seed == (maphash.Seed{}) {
		s.seed = maphash.MakeSeed()
	}
	size := 32
	for size < 2*len(m) {
		size *= 2
	}
	var few [256]int32
	slots := few[:]
	if size > len(few) {
		if len(s.slots) < size {
			s.slots = make([]int32, size)
		}
		slots = s.slots // may be longer, from an earlier and larger map
		clear(slots[:size])
	}
	slots = slots[:size]
	mask := size - 1
	for i := range m {
		at := int(s.hash(m[i].Key)) & mask
		for ; slots[at] != 0; at = (at + 1) & mask {
			if Identical(m[slots[at]-1].Key, m[i].Key) {
				return true
			}
		}
		slots[at] = int32(i + 1)
	}
	return false
}

// isKey reports whether key is one of the keys of m.
func isKey(m Map, key Term) bool {
	switch key := key.(type) {
	case Atom:
		for i := range m {
			if a, ok := m[i].Key.(Atom); ok && a == key {
				return true
			}
		}
	case Binary:
		for i := range m {
			if b, ok := m[i].Key.(Binary); ok && string(b) == string(key) {
				return true
			}
		}
	default:
		for i := range m {
			if Identical(m[i].Key, key) {
				return true
			}
		}
	}
	return false
}

// isComposite reports whether t is made of terms, or is of a type that is no usual key.
func isComposite(t Term) bool {
	switch t.(type) {
	case Atom, Int, Binary, Float, BigInt, Pid:
		return false
	}
	return true
}

// hash gives a hash of a key that is not composite.
func (s *keySet) hash(key Term) uint64 {
	var b [8]byte
	switch key := key.(type) {
	case Atom:
		return maphash.String(s.seed, string(key))
	case Int:
		binary.NativeEndian.PutUint64(b[:], uint64(key))
	case Binary:
		return maphash.Bytes(s.seed, key)
	case Float:
		binary.NativeEndian.PutUint64(b[:], math.Float64bits(float64(key)))
	case BigInt:
		if key.mag != "" { // else it is the Int 0
			return maphash.String(s.seed, key.mag)
		}
	case Pid:
		return maphash.Comparable(s.seed, key)
	}
	return maphash.Bytes(s.seed, b[:])
}

// duplicateField reports whether two fields of a native record have the same name.
func duplicateField(fields []Field) bool {
	seen := make(map[Atom]struct{}, len(fields))
	for i := range fields {
		seen[fields[i].Name] = struct{}{}
	}
	return len(seen) < len(fields)
}
