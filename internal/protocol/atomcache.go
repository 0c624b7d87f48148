package protocol

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"

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

// cacheSlots are the places of a cache. Of 64 those that are taken have memory, in their order: a
// connection that says little has named a few atoms, anywhere in the cache.
type cacheSlots [cacheSize / 64]struct {
	taken uint64 // by bits
	atoms []ei.Atom
}

// find gives the group of place i, where its atom is there, and whether it is.
func (s *cacheSlots) find(i int) (group, at int, ok bool) {
	bit := uint64(1) << (i & 63)
	taken := s[i>>6].taken
	return i >> 6, bits.OnesCount64(taken & (bit - 1)), taken&bit != 0
}

func (s *cacheSlots) put(i int, a ei.Atom) {
	g, at, ok := s.find(i)
	if ok {
		s[g].atoms[at] = a
		return
	}
	s[g].taken |= 1 << (i & 63)
	s[g].atoms = slices.Insert(s[g].atoms, at, a)
}

func (s *cacheSlots) get(i int) (ei.Atom, bool) {
	g, at, ok := s.find(i)
	if !ok {
		return "", false
	}
	return s[g].atoms[at], true
}

// An atomCache holds the atoms that a peer has named in its headers.
type atomCache struct {
	cacheSlots
	refs []ei.Atom // of the last header
}

// all gives what is in the cache, by index.
func (s *cacheSlots) all() iter.Seq2[int, ei.Atom] {
	return func(yield func(int, ei.Atom) bool) {
		for g := range s {
			taken := s[g].taken
			for _, a := range s[g].atoms {
				if !yield(g<<6|bits.TrailingZeros64(taken), a) {
					return
				}
				taken &= taken - 1
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
		entry := nibble(i)
		if at >= len(b) {
			return nil, 0, fmt.Errorf("%w: ends after %d atoms of %d", ErrHeader, i, n)
		}
		slot := entry&7<<8 | int(b[at])
		at++
		if entry&newCacheEntry == 0 {
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
