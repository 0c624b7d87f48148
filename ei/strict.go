package ei

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// What some runtime systems of OTP 25 to 29 refuse although others, old nodes or the C library may write it. The bounds were found by giving
// such terms to OTP 25, 27 and 29.
const (
	maxBigBytes   = 65535 * 8 // of an integer: OTP 27
	maxArity      = 1<<24 - 1 // of a tuple: OTP 27
	maxFree       = 255       // free variables of a closure
	minSmall      = -1 << 59  // of the old index and hash of a closure
	maxSmall      = 1<<59 - 1
	maxTiny       = 3         // the creation in the old form of an identifier
	maxOldRefWord = 1<<18 - 1 // the first word of a reference in its old forms
)

// refused reports whether a runtime system refuses the term at off, which head has checked, apart from the terms that it contains; records:
// it reads native records.
func (c *Cursor) refused(off int, records bool) bool {
	b := c.b[off:]
	switch Tag(b[0]) {
	case TagRecordExt:
		return !records
	case TagFunExt:
		return true
	case TagNewFunExt:
		return binary.BigEndian.Uint32(b[26:]) > maxFree || c.refusedFun(off)
	case TagFloatExt:
		return !bytes.Contains(b[1:1+oldFloatSize], []byte{0})
	case TagLargeBigExt:
		return binary.BigEndian.Uint32(b[1:]) > maxBigBytes
	case TagLargeTupleExt:
		return binary.BigEndian.Uint32(b[1:]) > maxArity
	case TagBitBinaryExt:
		return binary.BigEndian.Uint32(b[1:]) == 0
	case TagPidExt:
		next, _ := c.skipAtom(off + 1)
		return c.b[next+8] > maxTiny
	case TagPortExt:
		next, _ := c.skipAtom(off + 1)
		return c.b[next+4] > maxTiny
	case TagReferenceExt:
		next, _ := c.skipAtom(off + 1)
		return c.b[next+4] > maxTiny || binary.BigEndian.Uint32(c.b[next:]) > maxOldRefWord
	case TagNewReferenceExt:
		next, _ := c.skipAtom(off + 3)
		return c.b[next] > maxTiny || binary.BigEndian.Uint32(c.b[next+1:]) > maxOldRefWord
	}
	return false
}

// refusedFun reports whether a runtime system refuses the old index, the old hash or the maker of the closure at off.
func (c *Cursor) refusedFun(off int) bool {
	at := Cursor{b: c.b, CacheRefs: c.CacheRefs}
	at.off, _ = c.skipAtom(off + newFunFixed)
	for range 2 {
		if v, err := at.Int(); err != nil || v < minSmall || v > maxSmall {
			return true
		}
	}
	return at.refused(at.off, false)
}

// clash reports whether a map in t has two keys that some runtime system takes for the same: 0.0 and -0.0 (OTP 25, 26), closures with the
// same module, index and free variables (all, each in maps of its own sizes), and references that differ after the third word only (over
// which OTP 25 crashes).
func clash(t Term) bool {
	switch t := t.(type) {
	case List:
		return slices.ContainsFunc(t, clash)
	case ImproperList:
		return slices.ContainsFunc(t.Elems, clash) || clash(t.Tail)
	case Tuple:
		return slices.ContainsFunc(t, clash)
	case Fun:
		return slices.ContainsFunc(t.Free, clash)
	case Record:
		return slices.ContainsFunc(t.Fields, func(f Field) bool { return clash(f.Value) })
	case Map: // loosened keys show the clashes within them, too
		loose, changed := mapped(t, func(p Pair) (Pair, bool) {
			key, differs := loosened(p.Key)
			return Pair{key, p.Value}, differs
		})
		if changed && new(keySet).duplicate(loose) {
			return true
		}
		return slices.ContainsFunc(t, func(p Pair) bool { return clash(p.Value) })
	}
	return false
}

// loosened gives a key without what some runtime system does not look at, and whether that is another one.
func loosened(t Term) (Term, bool) {
	switch t := t.(type) {
	case Float:
		if t == 0 && math.Signbit(float64(t)) {
			return Float(0), true
		}
	case Fun:
		free, _ := mapped(t.Free, loosened)
		return Fun{Module: t.Module, Index: t.Index, Free: free}, true
	case Ref:
		if t.Len > 3 {
			t.ID[3], t.ID[4], t.Len = 0, 0, 3
			return t, true
		}
	case List:
		if out, changed := mapped(t, loosened); changed {
			return out, true
		}
	case ImproperList:
		elems, changed := mapped(t.Elems, loosened)
		tail, differs := loosened(t.Tail)
		if changed || differs {
			return ImproperList{elems, tail}, true
		}
	case Tuple:
		if out, changed := mapped(t, loosened); changed {
			return out, true
		}
	case Record:
		fields, changed := mapped(t.Fields, func(f Field) (Field, bool) {
			value, differs := loosened(f.Value)
			return Field{f.Name, value}, differs
		})
		if t.Fields = fields; changed {
			return t, true
		}
	case Map:
		out, changed := mapped(t, func(p Pair) (Pair, bool) {
			key, differs := loosened(p.Key)
			value, differs2 := loosened(p.Value)
			return Pair{key, value}, differs || differs2
		})
		if changed {
			return out, true
		}
	}
	return t, false
}

// mapped gives what f makes of each element, which it reports to be another one or not, and whether one is. If none is, that is s itself.
func mapped[S ~[]E, E any](s S, f func(E) (E, bool)) (out S, changed bool) {
	out = s
	for i, e := range s {
		e, differs := f(e)
		if !differs {
			continue
		}
		if !changed {
			out, changed = slices.Clone(s), true
		}
		out[i] = e
	}
	return out, changed
}
