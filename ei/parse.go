package ei

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

// A Cursor reads encoded terms one after the other, as the C library's ei_decode functions do with a buffer and an index;
// unlike those it never reads outside its input, and never believes a length that the input cannot hold.
//
// A method that fails leaves the Cursor where it was and gives a *SyntaxError; the cursor remains usable. Nothing is
// allocated for what is returned except where the comment says so. Byte slices that are returned share the memory of the input.
//
// The zero Cursor is at the end of an empty input. A Cursor is a small value: keep it in a variable, pass its address.
// It is not safe for concurrent use.
type Cursor struct {
	b   []byte
	off int // 0 <= off <= len(b)

	// Atoms, when not nil, keeps the atoms that were met, so that none is allocated twice. It may be shared by the cursors
	// of one goroutine.
	Atoms *AtomTable
	// CacheRefs are the atoms that the distribution header before the term names: an ATOM_CACHE_REF n in the term is
	// CacheRefs[n]. Whoever reads distribution headers sets it. See erl_ext_dist, "Distribution Header".
	CacheRefs []Atom
}

// NewCursor gives a Cursor at the start of b, which must not change while the cursor, or what it returned, is in use.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

// Offset gives the number of bytes read.
func (c *Cursor) Offset() int { return c.off }

// Len gives the number of bytes left.
func (c *Cursor) Len() int { return len(c.b) - c.off }

// Rest gives the bytes that are left, without moving.
func (c *Cursor) Rest() []byte { return c.b[c.off:] }

// Peek gives the tag of the next term, without moving. The C library's name is ei_get_type (which folds old and new tags
// of a kind into one: the methods IsAtom, IsPid ... of Tag do that here). At the end of the input the error is ErrTruncated.
func (c *Cursor) Peek() (Tag, error) {
	if c.off < len(c.b) {
		return Tag(c.b[c.off]), nil
	}
	return 0, c.fail(c.off, ErrTruncated)
}

// Version reads the version byte that stands before a term: ei_decode_version. Another byte is ErrVersion. Behind it may
// follow a compressed term or a LOCAL_EXT, which only Decode and Decompress understand.
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

// Int reads an integer: ei_decode_longlong. One that does not fit is ErrRange.
func (c *Cursor) Int() (int64, error) {
	if b := c.b[c.off:]; len(b) >= 2 && b[0] == byte(TagSmallIntegerExt) {
		c.off += 2
		return int64(b[1]), nil
	}
	return c.intSlow()
}

func (c *Cursor) intSlow() (int64, error) {
	b := c.b[c.off:]
	if len(b) >= 5 && Tag(b[0]) == TagIntegerExt {
		c.off += 5
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), nil
	}
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return 0, err
	}
	v, ok := int64FromWire(neg, mag)
	if !ok {
		return 0, c.fail(c.off, ErrRange)
	}
	c.off = next
	return v, nil
}

// Uint reads an integer: ei_decode_ulonglong. One that is negative or does not fit is ErrRange.
func (c *Cursor) Uint() (uint64, error) {
	if b := c.b[c.off:]; len(b) >= 2 && b[0] == byte(TagSmallIntegerExt) {
		c.off += 2
		return uint64(b[1]), nil
	}
	return c.uintSlow()
}

func (c *Cursor) uintSlow() (uint64, error) {
	b := c.b[c.off:]
	if len(b) >= 5 && Tag(b[0]) == TagIntegerExt {
		v := int32(binary.BigEndian.Uint32(b[1:]))
		if v < 0 {
			return 0, c.fail(c.off, ErrRange)
		}
		c.off += 5
		return uint64(v), nil
	}
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return 0, err
	}
	v, ok := uint64FromWire(mag)
	if !ok || neg && v != 0 {
		return 0, c.fail(c.off, ErrRange)
	}
	c.off = next
	return v, nil
}

// Big reads an integer of any size: ei_decode_bignum. It allocates the result.
func (c *Cursor) Big() (*big.Int, error) {
	t, err := c.integer()
	if err != nil {
		return nil, err
	}
	if v, ok := t.(Int); ok {
		return big.NewInt(int64(v)), nil
	}
	return t.(BigInt).Big(), nil
}

// integer reads an integer of any size as a term.
func (c *Cursor) integer() (Term, error) {
	if v, err := c.Int(); err == nil {
		return Int(v), nil
	}
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return nil, err
	}
	c.off = next
	return bigFromWire(neg, mag), nil
}

// integerAt gives sign and little-endian magnitude of a big integer, or fails.
func (c *Cursor) integerAt(off int) (neg bool, mag []byte, next int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return false, nil, off, c.fail(off, ErrTruncated)
	}
	var n uint64
	head := 3
	switch Tag(b[0]) {
	case TagSmallBigExt:
		if len(b) < head {
			return false, nil, off, c.fail(off, ErrTruncated)
		}
		n = uint64(b[1])
	case TagLargeBigExt:
		if head = 6; len(b) < head {
			return false, nil, off, c.fail(off, ErrTruncated)
		}
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	case TagSmallIntegerExt, TagIntegerExt: // only when cut short
		return false, nil, off, c.fail(off, ErrTruncated)
	default:
		return false, nil, off, c.wrong(off, "integer")
	}
	if n > uint64(len(b)-head) {
		return false, nil, off, c.fail(off, ErrTruncated)
	}
	return b[head-1] != 0, b[head : head+int(n)], off + head + int(n), nil
}

// Float reads a float: ei_decode_double. An integer is another type (ErrType).
func (c *Cursor) Float() (float64, error) {
	f, next, err := c.floatAt(c.off)
	if err != nil {
		return 0, err
	}
	c.off = next
	return f, nil
}

func (c *Cursor) floatAt(off int) (float64, int, error) {
	b := c.b[off:]
	if len(b) >= 9 && Tag(b[0]) == TagNewFloatExt {
		bits := binary.BigEndian.Uint64(b[1:])
		if bits>>52&0x7ff == 0x7ff { // an infinity or a NaN
			return 0, off, c.fail(off, ErrFloat)
		}
		return math.Float64frombits(bits), off + 9, nil
	}
	if len(b) == 0 || Tag(b[0]) == TagNewFloatExt {
		return 0, off, c.fail(off, ErrTruncated)
	}
	if Tag(b[0]) != TagFloatExt {
		return 0, off, c.wrong(off, "float")
	}
	if len(b) < 1+oldFloatSize {
		return 0, off, c.fail(off, ErrTruncated)
	}
	f, ok := parseOldFloat(b[1 : 1+oldFloatSize])
	if !ok {
		return 0, off, c.fail(off, ErrFloat)
	}
	return f, off + 1 + oldFloatSize, nil
}

// oldFloatSize is the length of the text of a FLOAT_EXT, filled up with zero bytes.
const oldFloatSize = 31

// parseOldFloat reads what "%.20e" wrote. Only its characters are let through, so that neither "inf" nor a hexadecimal
// form is.
func parseOldFloat(b []byte) (float64, bool) {
	n := 0
	for n < len(b) && b[n] != 0 {
		switch x := b[n]; {
		case x >= '0' && x <= '9', x == '.', x == '-', x == '+', x == 'e':
		default:
			return 0, false
		}
		n++
	}
	f, err := strconv.ParseFloat(string(b[:n]), 64)
	return f, err == nil
}

// Bool reads one of the atoms true and false: ei_decode_boolean. Another atom is another type (ErrType).
func (c *Cursor) Bool() (bool, error) {
	if c.AtomIs("true") {
		return true, nil
	}
	if c.AtomIs("false") {
		return false, nil
	}
	return false, c.wrong(c.off, "boolean")
}

// Atom reads an atom in any encoding: ei_decode_atom_as. It allocates the text unless Atoms has it.
func (c *Cursor) Atom() (Atom, error) {
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

// Tuple reads the head of a tuple and gives its arity; the elements are to be read next: ei_decode_tuple_header. The
// input has at least as many bytes left.
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

// List reads the head of a list and gives the number of elements that are to be read next; when that is not 0, a tail
// follows the elements: Nil for a proper list (or another List, where a program sent its list piece by piece). The empty
// list gives 0 and has no tail. A String is another type (ErrType): Str reads it. The C library's name is ei_decode_list_header.
func (c *Cursor) List() (n int, err error) {
	if b := c.b[c.off:]; len(b) >= 1 && b[0] == byte(TagNilExt) {
		c.off++
		return 0, nil
	}
	return c.listSlow()
}

func (c *Cursor) listSlow() (int, error) {
	start := c.off
	for c.off < len(c.b) && Tag(c.b[c.off]) == TagListExt {
		n, err := c.count(1)
		if err != nil {
			break
		}
		if n > 0 {
			return n, nil
		}
		// A LIST_EXT of no elements is its tail.
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

// Map reads the head of a map and gives the number of its pairs; each key and its value are to be read next:
// ei_decode_map_header.
func (c *Cursor) Map() (pairs int, err error) {
	if c.off < len(c.b) && Tag(c.b[c.off]) == TagMapExt {
		return c.count(2)
	}
	return 0, c.wrong(c.off, "map")
}

// Binary reads a binary: ei_decode_binary. The result shares the memory of the input. A bitstring whose length is not
// a number of bytes is another type (ErrType).
func (c *Cursor) Binary() ([]byte, error) {
	data, bits, next, err := c.bitsAt(c.off)
	if err != nil {
		return nil, err
	}
	if bits != 8 && len(data) > 0 {
		return nil, c.wrong(c.off, "binary")
	}
	c.off = next
	return data, nil
}

// Bitstring reads a bitstring or binary: ei_decode_bitstring. bits is the number of bits used of the last byte, 1 to 8, or 0
// when data is empty. The result shares the memory of the input.
func (c *Cursor) Bitstring() (data []byte, bits uint8, err error) {
	data, bits, next, err := c.bitsAt(c.off)
	if err != nil {
		return nil, 0, err
	}
	c.off = next
	return data, bits, nil
}

func (c *Cursor) bitsAt(off int) (data []byte, bits uint8, next int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	head := 5
	switch Tag(b[0]) {
	case TagBinaryExt:
		bits = 8
	case TagBitBinaryExt:
		head = 6
	default:
		return nil, 0, off, c.wrong(off, "binary")
	}
	if len(b) < head {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	n := uint64(binary.BigEndian.Uint32(b[1:]))
	if n > uint64(len(b)-head) {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	if head == 6 {
		if bits = b[5]; bits > 8 || (bits == 0) != (n == 0) {
			return nil, 0, off, c.fail(off, ErrMalformed)
		}
	} else if n == 0 {
		bits = 0
	}
	return b[head : head+int(n) : head+int(n)], bits, off + head + int(n), nil
}

// Str reads a list of bytes, in whichever form it came: ei_decode_string. The result shares the memory of the input for a
// STRING_EXT, and is allocated for a LIST_EXT.
func (c *Cursor) Str() ([]byte, error) {
	b := c.b[c.off:]
	if len(b) >= 3 && Tag(b[0]) == TagStringExt {
		if n := int(binary.BigEndian.Uint16(b[1:])); n <= len(b)-3 {
			c.off += 3 + n
			return b[3 : 3+n : 3+n], nil
		}
		return nil, c.fail(c.off, ErrTruncated)
	}
	if len(b) >= 1 && Tag(b[0]) == TagListExt {
		return c.strList()
	}
	if len(b) >= 1 && Tag(b[0]) == TagNilExt {
		c.off++
		return nil, nil
	}
	if len(b) >= 1 && Tag(b[0]) == TagStringExt {
		return nil, c.fail(c.off, ErrTruncated)
	}
	return nil, c.wrong(c.off, "string")
}

func (c *Cursor) strList() ([]byte, error) {
	at := *c
	var s []byte
	for at.off < len(at.b) {
		switch Tag(at.b[at.off]) {
		case TagNilExt:
			at.off++
			c.off = at.off
			return s, nil
		case TagStringExt: // a tail may be one
			tail, err := at.Str()
			if err != nil {
				return nil, err
			}
			c.off = at.off
			return append(s, tail...), nil
		case TagListExt:
		default:
			return nil, c.wrong(at.off, "string")
		}
		n, err := at.count(1)
		if err != nil {
			return nil, err
		}
		if n > at.Len()/2 { // a byte takes at least two
			return nil, c.fail(at.off, ErrTruncated)
		}
		if s == nil {
			s = make([]byte, 0, n)
		}
		for range n {
			if at.off < len(at.b) && !Tag(at.b[at.off]).IsInteger() {
				return nil, c.wrong(at.off, "byte")
			}
			v, err := at.Uint()
			if err != nil || v > 255 {
				return nil, c.wrong(at.off, "byte")
			}
			s = append(s, byte(v))
		}
	}
	return nil, c.fail(at.off, ErrTruncated)
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

// Raw reads one term of any kind without decoding it and gives its bytes, which share the memory of the input.
func (c *Cursor) Raw() (Raw, error) {
	start := c.off
	if err := c.Skip(); err != nil {
		return nil, err
	}
	return Raw(c.b[start:c.off:c.off]), nil
}
