package protocol

import (
	"encoding/binary"

	"github.com/cnode-go/cnode/ei"
)

// AtomRefs are the atoms of one message that its header is to name: what Pack has put references
// for. They do not depend on the cache, so a message can be packed before its turn to be sent has
// come. The zero AtomRefs has none. It is some 7 KB, to be used again.
type AtomRefs struct {
	n     int
	saved int                    // see Saved
	text  []byte                 // of all atoms
	ends  [maxAtomRefs + 1]int32 // of each, in text, behind a zero
	slots [maxAtomRefs]uint16
	index [cacheSize]uint8 // by slot: 1 + the reference
	ref   [2]byte
	with  func(ei.Raw) ei.Raw // refer, made once
}

// Reset is for the next message.
func (r *AtomRefs) Reset() {
	for _, slot := range r.slots[:r.n] {
		r.index[slot] = 0
	}
	r.n, r.saved, r.text = 0, 0, r.text[:0]
}

// Len gives the number of atoms.
func (r *AtomRefs) Len() int { return r.n }

// Saved gives how many bytes fewer than what was packed the references take.
func (r *AtomRefs) Saved() int { return r.saved }

// Pack appends the term raw with references in place of its atoms, and remembers these. Control
// message and payload of a message are packed one after the other. What comes after 255
// atoms, or has its place in the cache in common with another atom of the message, stays as it is.
// The errors are those of ei.Raw.RewriteAtoms, and b comes back as it was; then Reset.
func (r *AtomRefs) Pack(b []byte, raw ei.Raw) ([]byte, error) {
	if r.with == nil {
		r.with = r.refer
	}
	return raw.RewriteAtoms(b, r.with)
}

// refer gives the reference for an encoded atom, or nil.
func (r *AtomRefs) refer(atom ei.Raw) ei.Raw {
	var text []byte
	switch ei.Tag(atom[0]) {
	case ei.TagSmallAtomUTF8Ext:
		text = atom[2:]
	case ei.TagAtomUTF8Ext:
		text = atom[3:]
	}
	if len(text) == 0 { // or Latin-1, which only old nodes write
		return nil
	}
	slot := cacheSlot(text)
	at := int(r.index[slot]) - 1
	switch {
	case at >= 0:
		if string(r.atom(at)) != string(text) {
			return nil
		}
	case r.n == maxAtomRefs:
		return nil
	default:
		at = r.n
		r.text = append(r.text, text...)
		r.slots[at], r.ends[at+1] = slot, int32(len(r.text))
		r.n++
		r.index[slot] = uint8(r.n)
	}
	r.saved += len(atom) - len(r.ref)
	r.ref = [2]byte{byte(ei.TagAtomCacheRef), byte(at)}
	return r.ref[:]
}

func (r *AtomRefs) atom(i int) []byte { return r.text[r.ends[i]:r.ends[i+1]] }

// cacheSlot is the place of an atom in the cache.
func cacheSlot(text []byte) uint16 {
	const mix = 0x9E3779B97F4A7C15
	h := uint64(len(text))
	if len(text) < 8 {
		for _, x := range text {
			h = h<<8 ^ h>>56 ^ uint64(x)
		}
		return uint16(h * mix >> 53)
	}
	for i := 0; i < len(text); i += 8 { // the last 8 may overlap with those before
		h = (h ^ binary.LittleEndian.Uint64(text[min(i, len(text)-8):])) * mix
		h ^= h >> 32
	}
	return uint16(h * mix >> 53)
}

// SentAtoms is what a peer has in its cache of our atoms. Headers must be sent in the order in
// which AppendFrameHead has made them. The zero SentAtoms is right at any time, for a connection
// that goes on in another process too: atoms are then sent anew.
type SentAtoms struct{ slots cacheSlots }

// AppendFrameHead appends the beginning of a frame with a distribution header: its length, which
// counts the body bytes of packed control message and payload that are to be written after it, and
// the header. It allocates for atoms that the peer does not have. The error is as FinishFrame's;
// the peer is then taken to have the atoms, so the connection is to end. See erl_ext_dist,
// "Distribution Header".
func (s *SentAtoms) AppendFrameHead(b []byte, refs *AtomRefs, body int) ([]byte, error) {
	out := s.appendRefs(append(b, 0, 0, 0, 0, ei.VersionMagic, distHeader), refs)
	if err := setLength(out[len(b):], body); err != nil {
		return b, err
	}
	return out, nil
}

// has tells whether the peer has an atom in a place.
func (s *SentAtoms) has(slot int, text []byte) bool {
	a, ok := s.slots.get(slot)
	return ok && string(a) == string(text)
}

// appendRefs appends the references, from their number on. Without refs there are none.
func (s *SentAtoms) appendRefs(b []byte, refs *AtomRefs) []byte {
	if refs == nil || refs.n == 0 {
		return append(b, 0)
	}
	b = append(b, byte(refs.n))
	start := len(b)
	for range refFlagBytes(refs.n) {
		b = append(b, 0)
	}
	long := false
	for i, slot := range refs.slots[:refs.n] {
		if text := refs.atom(i); len(text) > 255 && !s.has(int(slot), text) {
			long = true
		}
	}
	if long {
		b[start+refs.n/2] |= longAtoms << (refs.n % 2 * 4)
	}
	for i, slot := range refs.slots[:refs.n] {
		text := refs.atom(i)
		bits := byte(slot >> 8)
		b = append(b, byte(slot))
		if !s.has(int(slot), text) {
			bits |= newCacheEntry
			s.slots.put(int(slot), ei.Atom(text))
			if long {
				b = append(b, byte(len(text)>>8))
			}
			b = append(append(b, byte(len(text))), text...)
		}
		b[start+i/2] |= bits << (i % 2 * 4)
	}
	return b
}
