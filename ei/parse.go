package ei

import (
	"encoding/binary"
	"unicode/utf8"
)

// A Cursor reads encoded terms one after the other, as the C library's ei_decode functions do with
// a buffer and an index; unlike them it never reads outside its input, and never believes a length
// that the input cannot hold.
//
// A method that fails leaves the Cursor where it was and gives a *SyntaxError; the cursor remains
// usable. Nothing is allocated for what is returned except where the comment says so. Byte slices
// that are returned share the memory of the input.
//
// The zero Cursor is at the end of an empty input. A Cursor is a small value: keep it in a
// variable, pass its address. It is not safe for concurrent use.
type Cursor struct {
	b   []byte
	off int // 0 <= off <= len(b)

	// Atoms, when not nil, keeps the atoms that were met, so that none is allocated twice. It may
	// be shared by the cursors of one goroutine.
	Atoms *AtomTable
	// CacheRefs are the atoms named by the distribution header before the term: an ATOM_CACHE_REF n
	// in the term is CacheRefs[n]. The reader of distribution headers sets it. See erl_ext_dist,
	// "Distribution Header".
	CacheRefs []Atom

	within  int            // Unmarshalers that are reading
	options *DecodeOptions // theirs
}

// NewCursor gives a Cursor at the start of b, which must not change while the cursor, or what it
// returned, is in use.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

// Offset gives the number of bytes read.
func (c *Cursor) Offset() int { return c.off }

// Len gives the number of bytes left.
func (c *Cursor) Len() int { return len(c.b) - c.off }

// Rest gives the bytes that are left, without moving.
func (c *Cursor) Rest() []byte { return c.b[c.off:] }

// Peek gives the tag of the next term, without moving. The C library's name is ei_get_type (which
// folds old and new tags of a kind into one: the methods IsAtom, IsPid ... of Tag do that here). At
// the end of the input the error is ErrTruncated.
func (c *Cursor) Peek() (Tag, error) {
	if c.off < len(c.b) {
		return Tag(c.b[c.off]), nil
	}
	return 0, c.fail(c.off, ErrTruncated)
}

// Version reads the version byte that stands before a term: ei_decode_version. Another byte is
// ErrVersion. After it may come a compressed term or a LOCAL_EXT, which only Decode and Decompress
// understand.
func (c *Cursor) Version() error {
	if c.off < len(c.b) && c.b[c.off] == VersionMagic {
		c.off++
		return nil
	}
	return c.failVersion()
}

func (c *Cursor) failVersion() error {
	if c.off >= len(c.b) {
		return c.fail(c.off, ErrTruncated)
	}
	return c.fail(c.off, ErrVersion)
}

// Bool reads one of the atoms true and false: ei_decode_boolean. Another atom is another type
// (ErrType).
func (c *Cursor) Bool() (bool, error) {
	if c.AtomIs("true") {
		return true, nil
	}
	if c.AtomIs("false") {
		return false, nil
	}
	if b := c.b[c.off:]; len(b) > 0 && Tag(b[0]).IsAtom() {
		if _, _, err := c.atomAt(c.off); err != nil {
			return false, err
		}
	}
	return false, c.wrong(c.off, "boolean")
}

// Atom reads an atom in any encoding: ei_decode_atom_as. It allocates the text unless Atoms has it.
func (c *Cursor) Atom() (Atom, error) {
	if b := c.b[c.off:]; len(b) >= 2 && b[0] == byte(TagSmallAtomUTF8Ext) && c.Atoms != nil {
		if n := int(b[1]); n <= len(b)-2 {
			if a, _ := c.Atoms.find(b[2 : 2+n]); a != nil { // so it is valid
				c.off += 2 + n
				return *a, nil
			}
		}
	}
	a, next, err := c.atomAt(c.off)
	if err != nil {
		return "", err
	}
	c.off = next
	return a, nil
}

// AtomIs reports whether the next term is the atom a, and reads it if so. It allocates nothing.
func (c *Cursor) AtomIs(a Atom) bool {
	if b := c.b[c.off:]; len(b) >= 2 && Tag(b[0]) == TagSmallAtomUTF8Ext {
		n := int(b[1])
		if len(b) < 2+n || string(b[2:2+n]) != string(a) {
			return false
		}
		c.off += 2 + n
		return true
	}
	return c.atomIsSlow(a)
}

func (c *Cursor) atomIsSlow(a Atom) bool {
	if c.off >= len(c.b) {
		return false
	}
	if Tag(c.b[c.off]) == TagAtomCacheRef {
		ref, next, err := c.cacheRefAt(c.off)
		if err == nil && ref == a {
			c.off = next
			return true
		}
		return false
	}
	if !Tag(c.b[c.off]).IsAtom() { // no error needs to be made
		return false
	}
	body, latin1, next, err := c.atomBody(c.off)
	if err != nil {
		return false
	}
	if latin1 {
		rest := string(a)
		for _, x := range body {
			r, n := utf8.DecodeRuneInString(rest)
			if r != rune(x) {
				return false
			}
			rest = rest[n:]
		}
		if rest != "" {
			return false
		}
	} else if string(body) != string(a) {
		return false
	}
	c.off = next
	return true
}

// Tuple reads the head of a tuple and gives its arity; the elements come next:
// ei_decode_tuple_header. The input has at least as many bytes left.
func (c *Cursor) Tuple() (arity int, err error) {
	if b := c.b[c.off:]; len(b) >= 2 && b[0] == byte(TagSmallTupleExt) && int(b[1]) <= len(b)-2 {
		c.off += 2
		return int(b[1]), nil
	}
	return c.tupleSlow()
}

func (c *Cursor) tupleSlow() (int, error) {
	b := c.b[c.off:]
	if len(b) >= 1 && Tag(b[0]) == TagLargeTupleExt {
		return c.count(1)
	}
	if len(b) >= 1 && Tag(b[0]) == TagSmallTupleExt {
		return 0, c.fail(c.off, ErrTruncated)
	}
	return 0, c.wrong(c.off, "tuple")
}

// count reads a tag and a 4-byte number of elements of at least size bytes each.
func (c *Cursor) count(size int) (int, error) {
	b := c.b[c.off:]
	if len(b) < 5 {
		return 0, c.fail(c.off, ErrTruncated)
	}
	n := uint64(binary.BigEndian.Uint32(b[1:]))
	if n*uint64(size) > uint64(len(b)-5) {
		return 0, c.fail(c.off, ErrTruncated)
	}
	c.off += 5
	return int(n), nil
}

// List reads the head of a list and gives the number of elements, which come next; when that is not
// 0, a tail follows the elements: Nil for a proper list (or another List, if a program sent its
// list piece by piece). The empty list gives 0 and has no tail. A String is another type (ErrType):
// Str reads it. The C library's name is ei_decode_list_header.
func (c *Cursor) List() (n int, err error) {
	if b := c.b[c.off:]; len(b) >= 5 && b[0] == byte(TagListExt) {
		if n := uint64(binary.BigEndian.Uint32(b[1:])); n > 0 && n <= uint64(len(b)-5) {
			c.off += 5
			return int(n), nil
		}
	}
	return c.listSlow()
}

func (c *Cursor) listSlow() (int, error) {
	start := c.off
	if start < len(c.b) && c.b[start] == byte(TagNilExt) {
		c.off++
		return 0, nil
	}
	for c.off < len(c.b) && Tag(c.b[c.off]) == TagListExt {
		n, err := c.count(1)
		if err != nil {
			break
		}
		if n > 0 {
			return n, nil
		}
		// A LIST_EXT without elements stands for its tail.
		if c.off < len(c.b) && Tag(c.b[c.off]) == TagNilExt {
			c.off++
			return 0, nil
		}
	}
	at := c.off
	c.off = start
	if at >= len(c.b) || Tag(c.b[at]) == TagListExt {
		return 0, c.fail(at, ErrTruncated)
	}
	return 0, c.wrong(at, "list")
}

// Nil reads the empty list, which is also the tail of a proper list.
func (c *Cursor) Nil() error {
	if c.off < len(c.b) && c.b[c.off] == byte(TagNilExt) {
		c.off++
		return nil
	}
	return c.wrong(c.off, "[]")
}

// Map reads the head of a map and gives the number of its pairs; the keys come next, each followed
// by its value: ei_decode_map_header. It does not look for equal keys.
func (c *Cursor) Map() (pairs int, err error) {
	if c.off < len(c.b) && Tag(c.b[c.off]) == TagMapExt {
		return c.count(2)
	}
	return 0, c.wrong(c.off, "map")
}

// fail wraps a reason with its place.
//
//go:noinline
func (c *Cursor) fail(off int, err error) error { return &SyntaxError{Offset: off, Err: err} }

// wrong says that the term at off is not what was wanted, or is none at all.
//
//go:noinline
func (c *Cursor) wrong(off int, want string) error {
	if off >= len(c.b) {
		return c.fail(off, ErrTruncated)
	}
	switch t := Tag(c.b[off]); {
	case t == TagCompressed:
		return c.fail(off, ErrCompressed)
	case t == TagLocalExt:
		return c.fail(off, ErrLocal)
	case !t.known():
		return c.fail(off, ErrTag)
	default:
		return c.fail(off, &TypeError{Want: want, Got: t})
	}
}

// Raw reads one term of any kind without decoding it and gives its bytes, which share the memory of
// the input.
func (c *Cursor) Raw() (Raw, error) {
	start := c.off
	if err := c.Skip(); err != nil {
		return nil, err
	}
	return Raw(c.b[start:c.off:c.off]), nil
}
