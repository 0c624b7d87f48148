package ei

import (
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
		return binary.BigEndian.Uint32(b[26:]) > maxFree || c.refusedCreator(off)
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

// refusedCreator reports whether a runtime system refuses the pid of the process that made the closure at off.
func (c *Cursor) refusedCreator(off int) bool {
	at := Cursor{b: c.b, CacheRefs: c.CacheRefs}
	at.off, _ = c.skipAtom(off + newFunFixed)
	_, _ = at.Int()
	_, _ = at.Int()
	return at.refused(at.off, false)
}

// zeroKeys reports whether a key of a map in t holds -0.0, which OTP 25 and 26 take for equal to 0.0, and later releases do not.
func zeroKeys(t Term, inKey bool) bool {
	among := func(terms []Term) bool {
		return slices.ContainsFunc(terms, func(t Term) bool { return zeroKeys(t, inKey) })
	}
	switch t := t.(type) {
	case Float:
		return inKey && t == 0 && math.Signbit(float64(t))
	case List:
		return among(t)
	case ImproperList:
		return among(t.Elems) || zeroKeys(t.Tail, inKey)
	case Tuple:
		return among(t)
	case Fun:
		return among(t.Free)
	case Map:
		return slices.ContainsFunc(t, func(p Pair) bool { return zeroKeys(p.Key, true) || zeroKeys(p.Value, inKey) })
	case Record:
		return slices.ContainsFunc(t.Fields, func(f Field) bool { return zeroKeys(f.Value, inKey) })
	}
	return false
}
