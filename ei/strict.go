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
	case Map:
		loose, changed := make(Map, len(t)), false
		for i, p := range t {
			key, differs := loosened(p.Key)
			loose[i], changed = Pair{Key: key}, changed || differs
			if clash(p.Key) || clash(p.Value) {
				return true
			}
		}
		return changed && new(keySet).duplicate(loose)
	}
	return false
}

// loosened gives a key without what some runtime system does not look at, and whether that is another one.
func loosened(t Term) (Term, bool) {
	all := func(terms []Term) ([]Term, bool) {
		changed := false
		out := make([]Term, len(terms))
		for i := range terms {
			var differs bool
			out[i], differs = loosened(terms[i])
			changed = changed || differs
		}
		return out, changed
	}
	switch t := t.(type) {
	case Float:
		if t == 0 && math.Signbit(float64(t)) {
			return Float(0), true
		}
	case Fun:
		free, _ := all(t.Free)
		return Fun{Module: t.Module, Index: t.Index, Free: free}, true
	case Ref:
		if t.Len > 3 {
			t.ID[3], t.ID[4], t.Len = 0, 0, 3
			return t, true
		}
	case List:
		out, changed := all(t)
		return List(out), changed
	case ImproperList:
		elems, changed := all(t.Elems)
		tail, differs := loosened(t.Tail)
		return ImproperList{elems, tail}, changed || differs
	case Tuple:
		out, changed := all(t)
		return Tuple(out), changed
	case Record:
		t.Fields = slices.Clone(t.Fields)
		changed := false
		for i := range t.Fields {
			var differs bool
			t.Fields[i].Value, differs = loosened(t.Fields[i].Value)
			changed = changed || differs
		}
		return t, changed
	case Map:
		out, changed := slices.Clone(t), false
		for i := range out {
			key, differs := loosened(out[i].Key)
			value, differs2 := loosened(out[i].Value)
			out[i], changed = Pair{key, value}, changed || differs || differs2
		}
		return out, changed
	}
	return t, false
}
