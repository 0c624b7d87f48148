package ei

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// What some runtime systems of OTP 25 to 29 refuse although others, old nodes or the C library may
// write it. The bounds were found by giving such terms to OTP 25, 27 and 29.
const (
	maxBigBytes   = 65535 * 8 // of an integer: OTP 27
	maxArity      = 1<<24 - 1 // of a tuple: OTP 27
	maxFree       = 255       // free variables of a closure
	minSmall      = -1 << 59  // of the old index and hash of a closure
	maxSmall      = 1<<59 - 1
	maxTiny       = 3         // the creation in the old form of an identifier
	maxOldRefWord = 1<<18 - 1 // the first word of a reference in its old forms
)

// refused reports whether a runtime system refuses the term at off, which head has checked, apart
// from the terms that it contains; records: it reads native records.
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

// refusedFun reports whether a runtime system refuses the old index, the old hash or the maker of
// the closure at off.
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

// maxLooseRef is how many words of a reference OTP 25 looks at in a key.
const maxLooseRef = 3

// clash reports whether a map in t has two keys that some runtime system takes for the same: 0.0
// and -0.0 (OTP 25, 26), closures with the same module, index and free variables (all, each in maps
// of its own sizes), and references that differ after the third word only (over which OTP 25
// crashes).
func clash(t Term) bool {
	var keys *mapSorter
	isLooseKey := func(p Pair) bool { return anyWithin(p.Key, true, isLoose) }
	// A comparison of keys shows the clashes within them, too.
	return anyWithin(t, false, func(t Term) bool {
		m, ok := t.(Map)
		if !ok || !slices.ContainsFunc(m, isLooseKey) {
			return false
		}
		if keys == nil {
			keys = newMapSorter(true)
		}
		return keys.hasDuplicate(m)
	})
}

// isLoose reports whether some runtime system does not look at all of t, apart from its parts.
func isLoose(t Term) bool {
	switch t := t.(type) {
	case Float:
		return t == 0 && math.Signbit(float64(t))
	case Fun:
		return true
	case Ref:
		return t.Len > maxLooseRef
	}
	return false
}

// anyWithin reports whether f is true for t or a term within it, in the order of Walk; keys of
// maps, and what is in them, are left out unless keys is set.
func anyWithin(t Term, keys bool, f func(Term) bool) bool {
	if f(t) {
		return true
	}
	var above nested.Stack[level]
	for in := (level{t: t}); ; {
		part, ok := in.next()
		switch {
		case !ok:
			if in, ok = above.Pop(); !ok {
				return false
			}
		case in.inKey() && !keys:
		case f(part):
			return true
		case hasParts(part):
			above.Push(in)
			in = level{t: part}
		}
	}
}
