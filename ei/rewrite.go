package ei

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendResolved appends the term with every ATOM_CACHE_REF in it replaced by the atom that it
// stands for, the one of that index in refs (Cursor.CacheRefs): the whole form, which needs no
// distribution header. Bytes after the term are left out. The term is checked as by Cursor.Skip;
// the errors are the same, and b comes back as it was. If more than max bytes would have to be
// appended (a reference of two bytes can stand for an atom of 1,023), the error is a *LimitError:
// such a message is larger than it came. Memory is taken for what is appended only, whatever the
// depth; b grows as by append, so give it room.
//
// See erl_ext_dist, "Distribution Header" and ATOM_CACHE_REF.
func (t Raw) AppendResolved(b []byte, refs []Atom, max int) ([]byte, error) {
	w := rewriter{c: Cursor{b: t, CacheRefs: refs}, out: b, max: max}
	return w.run(b)
}

// ResolvedSize gives the number of bytes that AppendResolved appends, and how many of them are more
// than the term takes in t. It has the errors of AppendResolved, and takes constant memory but
// for closures within closures.
func (t Raw) ResolvedSize(refs []Atom, max int) (size, grows int, err error) {
	w := rewriter{c: Cursor{b: t, CacheRefs: refs}, max: max, measures: true}
	_, err = w.run(nil)
	if err != nil {
		return 0, 0, err
	}
	return w.off + w.grown, w.grown, nil
}

// RewriteAtoms appends the term with other bytes in place of some of its atoms, those that are
// part of identifiers, closures, exports and records included. with gets the encoding of each atom,
// in their order in t, and gives the encoding that takes its place, or nil to leave it; it must
// not keep what it is given, and may use the memory of what it gives again for the next atom. The
// sizes of closures are set anew. Bytes after the term are left out. The errors are those of
// Cursor.Skip, and b comes back as it was; in particular a term with ATOM_CACHE_REFs in it is
// ErrAtomCache. Neither depth nor size of the term cost memory beyond what is appended.
func (t Raw) RewriteAtoms(b []byte, with func(atom Raw) Raw) ([]byte, error) {
	w := rewriter{c: Cursor{b: t}, out: b, with: with, max: maxInt}
	return w.run(b)
}

// WalkNames calls visit with the encoding of each part of the term that a runtime system keeps in a
// table: atoms, identifiers (pids, ports, references) for their nodes, exports, and closures up to
// their free variables. Parts come in the order of their ends: the atoms within an identifier, an
// export, a closure or a record come as well, before it. visit must not keep what it is given;
// false ends the walk. Bytes after the term are not looked at. The errors are those of Cursor.Skip:
// one says that the term is malformed, or, ErrAtomCache, that there is an ATOM_CACHE_REF in it; and
// ErrRefused, as of a decoder that is Strict, native records apart. Neither depth nor size of the
// term cost memory.
func (t Raw) WalkNames(visit func(part Raw) bool) error {
	w := rewriter{c: Cursor{b: t}, max: maxInt, measures: true}
	w.with = func(atom Raw) Raw {
		w.found = w.found || !visit(atom)
		return nil
	}
	for left := 1; left > 0 && !w.found; {
		at := w.off
		kids, err := w.head()
		switch left += kids - 1; {
		case err != nil:
		case left > len(t)-w.off: // each takes a byte or more
			err = w.c.fail(at, ErrTruncated)
		case w.c.refused(at, true):
			err = w.c.fail(at, ErrRefused)
		}
		if err != nil {
			return err
		}
		switch tag := Tag(t[at]); {
		case w.found:
		case tag == TagExportExt, tag == TagNewFunExt, tag.IsPid(), tag.IsPort(), tag.IsRef():
			w.found = !visit(t[at:w.off:w.off])
		}
	}
	return nil
}

const maxInt = int(^uint(0) >> 1)

// HasCacheRefs reports whether there is an ATOM_CACHE_REF in the term. It looks no further than
// to the first one, or to where no more can come; so that a term without any is checked in part or
// not at all. An error, as of Cursor.Skip, says that the term is malformed before that.
func (t Raw) HasCacheRefs() (bool, error) {
	next := bytes.IndexByte(t, byte(TagAtomCacheRef)) // no reference comes before it
	if next < 0 {
		return false, nil
	}
	w := rewriter{c: Cursor{b: t, CacheRefs: anyRefs[:]}, finds: true}
	for left := 1; left > 0 && next >= 0; {
		kids, err := w.head()
		if err != nil || w.found {
			return w.found, err
		}
		left += kids - 1
		if w.off > next {
			if next = bytes.IndexByte(t[w.off:], byte(TagAtomCacheRef)); next >= 0 {
				next += w.off
			}
		}
	}
	return false, nil
}

// anyRefs makes every reference a known one; it is never written to.
var anyRefs [256]Atom

// A rewriter copies a term with other bytes in place of its atoms.
type rewriter struct {
	c    Cursor
	off  int // of what has not been looked at
	out  []byte
	done int // c.b[:done] is in out; the rest up to off goes there with the next replacement
	max  int // bytes that go to out

	with     func(atom Raw) Raw // nil: references become atoms
	measures bool               // nothing goes to out
	finds    bool               // only looks for a reference
	found    bool

	grown int                       // how much longer than what it was made of out is
	funs  nested.Stack[closureSpan] // the closures that off is within, if they have free variables
}

// A closureSpan is a NEW_FUN_EXT in out.
type closureSpan struct {
	start int // of its tag, in out
	grown int // at that place
	left  int // the number of terms that are still to come when it is complete
}

// run gives out with the whole term, or b as it was.
func (w *rewriter) run(b []byte) ([]byte, error) {
	for left := 1; left > 0; {
		if w.with != nil && w.funs.Empty() {
			if left = w.common(left); left == 0 {
				break
			}
		}
		at, isClosure := w.off, w.off < len(w.c.b) && Tag(w.c.b[w.off]) == TagNewFunExt
		if isClosure {
			w.funs.Push(closureSpan{start: len(w.out) + at - w.done, grown: w.grown, left: left - 1})
		}
		kids, err := w.head()
		if left += kids - 1; err == nil && left > len(w.c.b)-w.off { // each takes a byte or more
			err = w.c.fail(at, ErrTruncated)
		}
		for err == nil && !w.funs.Empty() && w.funs.Last().left == left {
			err = w.endClosure()
		}
		if err != nil {
			return b, err
		}
	}
	if err := w.limit(w.off); err != nil {
		return b, err
	}
	w.copy()
	return w.out, nil
}

// common passes terms of the commonest kinds, outside of closures, with the replacement of their
// atoms, up to one that is of another kind, or that head is to look at. left is how many terms are
// to come, and then how many still are.
func (w *rewriter) common(left int) int {
	b, off, done, out := w.c.b, w.off, w.done, w.out
	for left > 0 && left < len(b)-off { // the next one has two bytes
		head, size, kids := b[off:], 2, 0
		switch Tag(head[0]) {
		case TagSmallAtomUTF8Ext:
			size += int(head[1])
			if size > len(head) || left-1 > len(head)-size || !isASCII(head[2:size]) {
				size = 0
				break
			}
			if other := w.with(Raw(head[:size:size])); other != nil {
				out = append(out, b[done:off]...)
				out = append(out, other...)
				done = off + size
				w.grown += len(other) - size
			}
		case TagSmallIntegerExt:
		case TagSmallTupleExt:
			kids = int(head[1])
		case TagNilExt:
			size = 1
		case TagIntegerExt:
			size = 5
		case TagMapExt, TagListExt, TagBinaryExt:
			if size = 5; len(head) < size {
				break
			}
			switch n := binary.BigEndian.Uint32(head[1:]); {
			case uint64(n) > uint64(len(head)):
				size = 0
			case Tag(head[0]) == TagBinaryExt:
				size += int(n)
			case Tag(head[0]) == TagListExt:
				kids = int(n) + 1
			default:
				kids = 2 * int(n)
			}
		default:
			size = 0
		}
		next := left - 1 + kids
		if size == 0 || size > len(head) || next > len(head)-size { // head says what is wrong
			break
		}
		off, left = off+size, next
	}
	w.off, w.done, w.out = off, done, out
	return left
}

// copy puts everything before off into out.
func (w *rewriter) copy() {
	if w.measures {
		return
	}
	at, n := len(w.out), w.off-w.done
	w.out = slices.Grow(w.out, n)[:at+n]
	copy(w.out[at:], w.c.b[w.done:w.off]) // nothing, where a term that is made whole in its place is the same
	w.done = w.off
}

// endClosure sets the size of the closure that ends at off, if it is another one now. (OTP 23 and
// 24 send a wrong one, which stays if nothing has changed.)
func (w *rewriter) endClosure() error {
	span, _ := w.funs.Pop()
	if span.grown == w.grown || w.measures {
		return nil
	}
	w.copy()
	size := len(w.out) - span.start - 1
	binary.BigEndian.PutUint32(w.out[span.start+1:], uint32(size))
	return tooMany(size)
}

// head passes the head of a term, with the atoms in it, and gives the number of terms that must
// follow to complete the term.
func (w *rewriter) head() (kids int, err error) {
	if w.off >= len(w.c.b) {
		return 0, w.c.fail(w.off, ErrTruncated)
	}
	at := w.off
	switch tag := Tag(w.c.b[at]); {
	case tag == TagSmallIntegerExt && at+2 <= len(w.c.b):
		w.off += 2
		return 0, nil
	case tag == TagSmallAtomUTF8Ext, tag == TagAtomCacheRef, tag.IsAtom():
		return 0, w.atom()
	case tag == TagNewPidExt:
		w.off++
		if err := w.atom(); err != nil {
			return 0, err
		}
		if w.off += pidTail(tag); w.off > len(w.c.b) {
			return 0, w.c.fail(at, ErrTruncated)
		}
		return 0, nil
	case tag.IsPid(), tag.IsPort(), tag.IsRef(), tag == TagExportExt, tag == TagNewFunExt, tag == TagFunExt, tag == TagRecordExt:
		next, kids, err := w.c.head(at)
		if err == nil {
			err = w.atomsWithin(tag)
		}
		w.off = next
		return kids, err
	}
	w.off, kids, err = w.c.head(at)
	return kids, err
}

// atomsWithin passes the atoms in the head of a term, which has been checked.
func (w *rewriter) atomsWithin(tag Tag) error {
	at, n, tail := w.off, 1, 0
	switch {
	case tag.IsPid(), tag.IsPort(), tag == TagReferenceExt:
		w.off++
	case tag.IsRef():
		w.off += 3
	case tag == TagExportExt:
		w.off++
		n = 2
	case tag == TagRecordExt:
		n = 2 + int(binary.BigEndian.Uint32(w.c.b[at+1:]))
		w.off += 6
	case tag == TagNewFunExt:
		w.off += newFunFixed
	case tag == TagFunExt:
		w.off += 6
		tail = pidTail(Tag(w.c.b[at+5]))
	}
	for range n {
		if err := w.atom(); err != nil {
			return err
		}
	}
	switch tag {
	case TagNewFunExt: // two integers, then the pid
		for range 2 {
			next, err := w.c.skipAt(w.off)
			if err != nil {
				return err
			}
			w.off = next
		}
		w.off++
		return w.atom()
	case TagFunExt: // the module follows the pid
		w.off += tail
		return w.atom()
	}
	return nil
}

// atom passes an atom.
func (w *rewriter) atom() error {
	at := w.off
	next, err := w.c.skipAtom(at)
	if err != nil {
		return err
	}
	isRef := Tag(w.c.b[at]) == TagAtomCacheRef
	switch {
	case w.finds:
		w.found = w.found || isRef
	case w.with != nil:
		if other := w.with(Raw(w.c.b[at:next:next])); other != nil {
			w.copy()
			w.out = append(w.out, other...)
			w.done, w.grown = next, w.grown+len(other)-(next-at)
		}
	case isRef:
		a := w.c.CacheRefs[w.c.b[at+1]]
		if !w.measures {
			w.copy()
			w.out = appendAtom(w.out, a)
		}
		w.off, w.done = next, next
		w.grown += len(a) // a tag and a length of one byte take as much as a reference
		if len(a) > math.MaxUint8 {
			w.grown++
		}
		return w.limit(at)
	}
	w.off = next
	return nil
}

// limit is an error if more bytes would be appended, up to the term at at, than may be.
func (w *rewriter) limit(at int) error {
	if w.off+w.grown > w.max {
		return w.c.fail(at, &LimitError{Limit: "bytes of the whole form", Max: w.max})
	}
	return nil
}
