package ei

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unicode/utf8"
)

// The largest atom. See erl_ext_dist, ATOM_UTF8_EXT.
const (
	MaxAtomChars = 255              // characters
	maxAtomBytes = 4 * MaxAtomChars // bytes that they may take in UTF-8
)

// An AtomTable keeps atoms that were read, so that reading one again allocates nothing. It never
// holds more than its limit: one more empties it, so a peer that keeps sending new atoms costs
// time, not memory. The zero AtomTable is NewAtomTable(0). It is not safe for concurrent use.
type AtomTable struct {
	limit int
	n     int
	slots []atomSlot // open addressing; the length is a power of two, and at least 4/3 n

	// of the hash, so that nobody can choose atoms that have the same one
	seed maphash.Seed
	keys [2]uint64
}

// An atomSlot has the atom that is there, nil if none is, and words of the text.
type atomSlot struct {
	words [2]uint64
	atom  *Atom
}

// NewAtomTable gives an empty table for up to limit atoms; 0 or less stands for 4096. An atom takes
// its text (at most maxAtomBytes) and some 60 bytes.
func NewAtomTable(limit int) *AtomTable {
	if limit <= 0 {
		limit = 4096
	}
	seed := maphash.MakeSeed()
	return &AtomTable{limit: limit, seed: seed, keys: [2]uint64{maphash.String(seed, "0"), maphash.String(seed, "1")}}
}

// Len gives the number of atoms in the table.
func (t *AtomTable) Len() int { return t.n }

// isFull tells whether one more atom empties it.
func (t *AtomTable) isFull() bool { return t.n >= t.limit }

// find gives the atom with this text; if there is none, nil and the slot where it would be.
func (t *AtomTable) find(text []byte) (*Atom, *atomSlot) {
	if len(t.slots) == 0 {
		return nil, nil
	}
	n := len(text)
	var first, last uint64 // with n they have all of the text, unless it is long
	switch {
	case n > 16:
		first = maphash.Bytes(t.seed, text)
	case n >= 8:
		first, last = binary.NativeEndian.Uint64(text), binary.NativeEndian.Uint64(text[n-8:])
	case n >= 4:
		first, last = uint64(binary.NativeEndian.Uint32(text)), uint64(binary.NativeEndian.Uint32(text[n-4:]))
	case n > 0:
		first, last = uint64(text[0])<<8|uint64(text[n/2]), uint64(text[n-1])
	}
	hi, lo := bits.Mul64(first^t.keys[0], last^t.keys[1]^uint64(n))
	for i := hi ^ lo; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.atom == nil {
			s.words = [2]uint64{first, last}
			return nil, s
		}
		if s.words[0] == first && s.words[1] == last && len(*s.atom) == n && (n <= 16 || string(*s.atom) == string(text)) {
			return s.atom, s
		}
	}
}

// add puts in an atom that find has just not found.
func (t *AtomTable) add(a *Atom, slot *atomSlot) {
	if t.limit == 0 { // the zero AtomTable
		*t = *NewAtomTable(0)
	}
	switch {
	case t.isFull():
		clear(t.slots)
		t.n = 0
		_, slot = t.find(bytesOf(*a))
	case 4*(t.n+1) > 3*len(t.slots):
		t.grow(t.n + 1)
		_, slot = t.find(bytesOf(*a))
	}
	slot.atom = a
	t.n++
}

// grow makes room for n atoms.
func (t *AtomTable) grow(n int) {
	size := 16
	for 4*n > 3*size {
		size *= 2
	}
	old := t.slots
	t.slots = make([]atomSlot, size)
	for _, s := range old {
		if s.atom != nil {
			_, to := t.find(bytesOf(*s.atom))
			to.atom = s.atom
		}
	}
}

// atomAt reads the atom at off.
func (c *Cursor) atomAt(off int) (Atom, int, error) {
	b := c.b[off:]
	if len(b) >= 2 && b[0] == byte(TagSmallAtomUTF8Ext) && c.Atoms != nil && int(b[1]) <= len(b)-2 {
		text := b[2 : 2+int(b[1])]
		if a, _ := c.Atoms.find(text); a != nil { // so it is valid
			return *a, off + 2 + len(text), nil
		}
	} else if len(b) > 0 && b[0] == byte(TagAtomCacheRef) {
		return c.cacheRefAt(off)
	}
	body, latin1, next, err := c.atomBody(off)
	if err != nil {
		return "", off, err
	}
	if latin1 {
		var buf [2 * MaxAtomChars]byte
		body = latin1ToUTF8(buf[:0], body)
	}
	if c.Atoms == nil {
		return Atom(body), next, nil
	}
	a, slot := c.Atoms.find(body)
	if a == nil {
		a = new(Atom)
		*a = Atom(body)
		c.Atoms.add(a, slot)
	}
	return *a, next, nil
}

// atomBody gives the text of the atom at off, which is checked, and whether it is in Latin-1 and
// not the same in UTF-8.
func (c *Cursor) atomBody(off int) (body []byte, latin1 bool, next int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return nil, false, off, c.fail(off, ErrTruncated)
	}
	head := 2
	switch Tag(b[0]) {
	case TagSmallAtomUTF8Ext:
	case TagAtomUTF8Ext:
		head = 3
	case TagAtomExt:
		head, latin1 = 3, true
	case TagSmallAtomExt:
		latin1 = true
	default:
		return nil, false, off, c.wrong(off, "atom")
	}
	if len(b) < head {
		return nil, false, off, c.fail(off, ErrTruncated)
	}
	n := int(b[1])
	if head == 3 {
		n = int(binary.BigEndian.Uint16(b[1:]))
	}
	if n > len(b)-head {
		return nil, false, off, c.fail(off, ErrTruncated)
	}
	body = b[head : head+n]
	if n <= MaxAtomChars && isASCII(body) {
		return body, false, off + head + n, nil
	}
	if n > MaxAtomChars && (latin1 || n > maxAtomBytes || utf8.RuneCount(body) > MaxAtomChars) {
		return nil, false, off, c.fail(off, ErrAtom)
	}
	if !latin1 && !utf8.Valid(body) {
		return nil, false, off, c.fail(off, ErrAtom)
	}
	return body, latin1, off + head + n, nil
}

// cacheRefAt reads an ATOM_CACHE_REF. See erl_ext_dist, ATOM_CACHE_REF.
func (c *Cursor) cacheRefAt(off int) (Atom, int, error) {
	b := c.b[off:]
	if len(b) < 2 {
		return "", off, c.fail(off, ErrTruncated)
	}
	if int(b[1]) >= len(c.CacheRefs) {
		return "", off, c.fail(off, ErrAtomCache)
	}
	return c.CacheRefs[b[1]], off + 2, nil
}

// skipAtom checks the atom at off.
func (c *Cursor) skipAtom(off int) (next int, err error) {
	if off < len(c.b) && Tag(c.b[off]) == TagAtomCacheRef {
		_, next, err = c.cacheRefAt(off)
		return next, err
	}
	_, _, next, err = c.atomBody(off)
	return next, err
}

// isASCII reports whether text is the same in Latin-1 and UTF-8. It looks at words: most atoms have
// two, which overlap.
func isASCII(text []byte) bool {
	n := len(text)
	switch {
	case n >= 8:
		high := binary.NativeEndian.Uint64(text[n-8:])
		for ; n > 8; n -= 8 {
			high |= binary.NativeEndian.Uint64(text[n-8:])
		}
		return (high|binary.NativeEndian.Uint64(text))&0x8080808080808080 == 0
	case n >= 4:
		return (binary.NativeEndian.Uint32(text)|binary.NativeEndian.Uint32(text[n-4:]))&0x80808080 == 0
	case n > 0:
		return text[0]|text[n/2]|text[n-1] < utf8.RuneSelf
	}
	return true
}

func latin1ToUTF8(to, text []byte) []byte {
	for _, x := range text {
		to = utf8.AppendRune(to, rune(x))
	}
	return to
}

// validAtom reports whether a can be an atom.
func validAtom(a Atom) bool {
	return len(a) <= MaxAtomChars && isASCII(bytesOf(a)) || validUTF8Atom(a)
}

func validUTF8Atom(a Atom) bool {
	if len(a) > MaxAtomChars && (len(a) > maxAtomBytes || utf8.RuneCountInString(string(a)) > MaxAtomChars) {
		return false
	}
	return utf8.ValidString(string(a))
}
