package ei

import "encoding/binary"

// Skip reads one term of any kind and drops it: ei_skip_term. The term is checked as by Decode,
// except for the Limits, equal keys of maps and equal fields of records. Skip takes constant memory
// and time in proportion to the term, whatever the depth.
func (c *Cursor) Skip() error {
	next, err := c.skipAt(c.off)
	if err != nil {
		return err
	}
	c.off = next
	return nil
}

// skipAt gives the offset after the term at off.
func (c *Cursor) skipAt(off int) (int, error) {
	for left := 1; left > 0; {
		next, kids, err := c.head(off)
		if err != nil {
			return off, err
		}
		if left += kids - 1; left > len(c.b)-next { // each takes a byte or more
			return off, c.fail(off, ErrTruncated)
		}
		off = next
	}
	return off, nil
}

// head checks the first part of the term at off, up to the terms that it contains. It gives the
// offset after that part and the number of terms that must follow to complete the term. This is the
// one place that knows the layout of every tag.
func (c *Cursor) head(off int) (next, kids int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return off, 0, c.fail(off, ErrTruncated)
	}
	switch tag := Tag(b[0]); tag {
	case TagSmallIntegerExt:
		return c.fixed(off, 2)
	case TagIntegerExt:
		return c.fixed(off, 5)
	case TagNilExt:
		return off + 1, 0, nil
	case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
		next, err = c.skipAtom(off)
		return next, 0, err
	case TagSmallTupleExt:
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			return off, 0, c.fail(off, ErrTruncated)
		}
		return off + 2, int(b[1]), nil
	case TagLargeTupleExt:
		return c.headCount(off, 1, 0)
	case TagListExt:
		return c.headCount(off, 1, 1)
	case TagMapExt:
		return c.headCount(off, 2, 0)
	case TagStringExt:
		if len(b) < 3 || int(binary.BigEndian.Uint16(b[1:])) > len(b)-3 {
			return off, 0, c.fail(off, ErrTruncated)
		}
		return off + 3 + int(binary.BigEndian.Uint16(b[1:])), 0, nil
	case TagBinaryExt, TagBitBinaryExt:
		_, _, next, err = c.bitsAt(off)
		return next, 0, err
	case TagNewFloatExt, TagFloatExt:
		_, next, err = c.floatAt(off)
		return next, 0, err
	case TagSmallBigExt, TagLargeBigExt:
		_, _, next, err = c.integerAt(off)
		return next, 0, err
	case TagNewPidExt, TagPidExt:
		return c.headIdent(off, off+1, pidTail(tag))
	case TagNewPortExt, TagV4PortExt, TagPortExt:
		return c.headIdent(off, off+1, portTail(tag))
	case TagNewerReferenceExt, TagNewReferenceExt, TagReferenceExt:
		_, words, node, err := c.refHead(off)
		if err != nil {
			return off, 0, err
		}
		return c.headIdent(off, node, refTail(tag, words))
	case TagExportExt:
		if next, err = c.skipAtom(off + 1); err != nil {
			return off, 0, err
		}
		if next, err = c.skipAtom(next); err != nil {
			return off, 0, err
		}
		_, next, err = c.exportArity(next)
		return next, 0, err
	case TagNewFunExt:
		return c.headNewFun(off)
	case TagFunExt:
		return c.headOldFun(off)
	case TagRecordExt:
		return c.headRecord(off)
	}
	return off, 0, c.wrong(off, "term")
}

// fixed is the head of a term of size bytes.
func (c *Cursor) fixed(off, size int) (next, kids int, err error) {
	if size > len(c.b)-off {
		return off, 0, c.fail(off, ErrTruncated)
	}
	return off + size, 0, nil
}

// headCount is the head of a term with a 4-byte count of groups of size terms, and extra terms
// after them.
func (c *Cursor) headCount(off, size, extra int) (next, kids int, err error) {
	b := c.b[off:]
	if len(b) < 5 {
		return off, 0, c.fail(off, ErrTruncated)
	}
	n := uint64(binary.BigEndian.Uint32(b[1:]))*uint64(size) + uint64(extra)
	if n > uint64(len(b)-5) {
		return off, 0, c.fail(off, ErrTruncated)
	}
	return off + 5, int(n), nil
}

// headIdent is an identifier: a node's name at node, and size bytes after it.
func (c *Cursor) headIdent(off, node, size int) (next, kids int, err error) {
	if next, err = c.skipAtom(node); err != nil {
		return off, 0, err
	}
	if size > len(c.b)-next {
		return off, 0, c.fail(off, ErrTruncated)
	}
	return next + size, 0, nil
}

// newFunFixed is the length of a NEW_FUN_EXT from its tag to its module: size, arity, uniq, index,
// number of free variables.
const newFunFixed = 1 + 4 + 1 + 16 + 4 + 4

// headNewFun does not look at the size: OTP 23 and 24 send a wrong one, with which a runtime system
// has no difficulty either.
func (c *Cursor) headNewFun(off int) (next, kids int, err error) {
	b := c.b[off:]
	if len(b) < newFunFixed {
		return off, 0, c.fail(off, ErrTruncated)
	}
	free := uint64(binary.BigEndian.Uint32(b[26:]))
	if free > uint64(len(b)-newFunFixed) {
		return off, 0, c.fail(off, ErrTruncated)
	}
	if next, err = c.skipAtom(off + newFunFixed); err != nil {
		return off, 0, err
	}
	at := Cursor{b: c.b, off: next, CacheRefs: c.CacheRefs}
	if _, err = at.Int(); err != nil {
		return off, 0, err
	}
	if _, err = at.Int(); err != nil {
		return off, 0, err
	}
	next, err = at.skipPid(at.off)
	return next, int(free), err
}

func (c *Cursor) headOldFun(off int) (next, kids int, err error) {
	b := c.b[off:]
	if len(b) < 5 {
		return off, 0, c.fail(off, ErrTruncated)
	}
	free := uint64(binary.BigEndian.Uint32(b[1:]))
	if free > uint64(len(b)-5) {
		return off, 0, c.fail(off, ErrTruncated)
	}
	if next, err = c.skipPid(off + 5); err != nil {
		return off, 0, err
	}
	if next, err = c.skipAtom(next); err != nil {
		return off, 0, err
	}
	at := Cursor{b: c.b, off: next}
	if _, err = at.Int(); err != nil {
		return off, 0, err
	}
	if _, err = at.Int(); err != nil {
		return off, 0, err
	}
	return at.off, int(free), nil
}

func (c *Cursor) skipPid(off int) (next int, err error) {
	if off >= len(c.b) || !Tag(c.b[off]).IsPid() {
		return off, c.wrong(off, "pid")
	}
	next, _, err = c.headIdent(off, off+1, pidTail(Tag(c.b[off])))
	return next, err
}

func (c *Cursor) headRecord(off int) (next, kids int, err error) {
	b := c.b[off:]
	if len(b) < 6 {
		return off, 0, c.fail(off, ErrTruncated)
	}
	if b[5]&^recordExported != 0 { // a runtime system refuses these flags, too
		return off, 0, c.fail(off, ErrMalformed)
	}
	n := uint64(binary.BigEndian.Uint32(b[1:]))
	if n*3 > uint64(len(b)-6) { // a name takes two bytes or more, a value one
		return off, 0, c.fail(off, ErrTruncated)
	}
	next = off + 6
	for range n + 2 { // module, name, names of the fields
		if next, err = c.skipAtom(next); err != nil {
			return off, 0, err
		}
	}
	return next, int(n), nil
}
