package dist

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/cnode-go/cnode/ei"
)

// The atom cache of one direction of a connection. See erl_ext_dist, "Distribution Header".
const (
	cacheSize   = 2048 // atoms that a side remembers: 8 segments of 256
	maxAtomRefs = 255  // references in one header

	newCacheEntry = 8 // in the four bits of a reference; the others are its segment
	longAtoms     = 1 // in the four bits behind the last reference: lengths take two bytes
)

// refFlagBytes is how many bytes the bits of n references take in a header.
func refFlagBytes(n int) int {
	if n == 0 {
		return 0
	}
	return n/2 + 1
}

// cacheSegment is how many atoms of a cache have their memory together: few, for an idle connection
// has named three or four, anywhere in the cache.
const cacheSegment = 16

// An atomCache holds the atoms that a peer has named in its headers. Its memory grows by segments.
type atomCache struct {
	segments [cacheSize / cacheSegment]*[cacheSegment]ei.Atom
	set      [cacheSize / 64]uint64 // which are, by bits: '' is an atom too
	refs     []ei.Atom              // of the last header
}

func (c *atomCache) put(i int, a ei.Atom) {
	s := &c.segments[i/cacheSegment]
	if *s == nil {
		*s = new([cacheSegment]ei.Atom)
	}
	(*s)[i%cacheSegment] = a
	c.set[i>>6] |= 1 << (i & 63)
}

func (c *atomCache) get(i int) (ei.Atom, bool) {
	if c.set[i>>6]&(1<<(i&63)) == 0 {
		return "", false
	}
	return c.segments[i/cacheSegment][i%cacheSegment], true
}

// all gives what is in the cache, by index.
func (c *atomCache) all() iter.Seq2[int, ei.Atom] {
	return func(yield func(int, ei.Atom) bool) {
		for i := range cacheSize {
			if a, ok := c.get(i); ok && !yield(i, a) {
				return
			}
		}
	}
}

// readRefs reads the atom cache references of a header, from their number on. It gives the atoms
// that they stand for, which are valid until the next header, and the number of bytes.
func (c *atomCache) readRefs(b []byte, atoms *ei.AtomTable) (refs []ei.Atom, size int, err error) {
	if len(b) == 0 {
		return nil, 0, fmt.Errorf("%w: no number of atoms", ErrHeader)
	}
	n := int(b[0])
	at := 1 + refFlagBytes(n)
	if at > len(b) {
		return nil, 0, fmt.Errorf("%w: the bits of %d atoms in %d bytes", ErrHeader, n, len(b))
	}
	flags := b[1:at]
	nibble := func(i int) int { return int(flags[i/2]>>(i%2*4)) & 15 }
	lengthSize := 1
	if n > 0 && nibble(n)&longAtoms != 0 {
		lengthSize = 2
	}
	refs = c.refs[:0]
	for i := range n {
		bits := nibble(i)
		if at >= len(b) {
			return nil, 0, fmt.Errorf("%w: ends after %d atoms of %d", ErrHeader, i, n)
		}
		slot := bits&7<<8 | int(b[at])
		at++
		if bits&newCacheEntry == 0 {
			a, ok := c.get(slot)
			if !ok {
				return nil, 0, fmt.Errorf("%w: %d, atom %d of %d", ErrNotCached, slot, i+1, n)
			}
			refs = append(refs, a)
			continue
		}
		a, next, err := readCacheText(b, at, lengthSize, atoms)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: atom %d of %d: %w", ErrHeader, i+1, n, err)
		}
		c.put(slot, a)
		refs, at = append(refs, a), next
	}
	c.refs = refs
	return refs, at, nil
}

// readCacheText reads the text of a new entry, behind its index.
func readCacheText(b []byte, at, lengthSize int, atoms *ei.AtomTable) (a ei.Atom, next int, err error) {
	if at+lengthSize > len(b) {
		return "", 0, ei.ErrTruncated
	}
	n := int(b[at])
	if lengthSize == 2 {
		n = int(binary.BigEndian.Uint16(b[at:]))
	}
	at += lengthSize
	if n > len(b)-at {
		return "", 0, ei.ErrTruncated
	}
	if n > 4*ei.MaxAtomChars {
		return "", 0, ei.ErrAtom
	}
	var encoded [3 + 4*ei.MaxAtomChars]byte // package ei checks it, and knows whether it was met before
	term := append(encoded[:0], byte(ei.TagAtomUTF8Ext), byte(n>>8), byte(n))
	if n <= 255 {
		term = append(encoded[:0], byte(ei.TagSmallAtomUTF8Ext), byte(n))
	}
	c := ei.NewCursor(append(term, b[at:at+n]...))
	c.Atoms = atoms
	a, err = c.Atom()
	return a, at + n, err
}
