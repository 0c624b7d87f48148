package ei

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"math"
	"strconv"
)

// The appenders of this file write the forms that only old nodes write. No OTP release that is
// supported today sends them, except ATOM_EXT, which term_to_binary makes before OTP 26.

// AppendLatin1Atom appends an atom as ATOM_EXT. One with a character above U+00FF, or of more than
// 255 characters, is ErrAtom; b is then returned as it was.
func AppendLatin1Atom(b []byte, a Atom) ([]byte, error) {
	n, ok := latin1Len(a)
	if !ok {
		return b, ErrAtom
	}
	return appendLatin1(append(b, byte(TagAtomExt), byte(n>>8), byte(n)), a), nil
}

// AppendSmallLatin1Atom appends an atom as SMALL_ATOM_EXT, otherwise as AppendLatin1Atom.
func AppendSmallLatin1Atom(b []byte, a Atom) ([]byte, error) {
	n, ok := latin1Len(a)
	if !ok {
		return b, ErrAtom
	}
	return appendLatin1(append(b, byte(TagSmallAtomExt), byte(n)), a), nil
}

// AppendOldFloat appends a float as FLOAT_EXT, that is as text of 20 decimals. An infinity or a NaN
// is ErrFloat.
func AppendOldFloat(b []byte, f float64) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return b, ErrFloat
	}
	b = append(b, byte(TagFloatExt))
	start := len(b)
	b = strconv.AppendFloat(b, f, 'e', 20, 64)
	for len(b) < start+oldFloatSize {
		b = append(b, 0)
	}
	return b, nil
}

// AppendOldPid appends a process identifier as PID_EXT. A creation of more than 2 bits is ErrRange,
// a node's name that is no atom ErrAtom.
func AppendOldPid(b []byte, p Pid) ([]byte, error) {
	b, err := appendOldNode(b, TagPidExt, p.Node, p.Creation)
	if err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint32(b, p.ID)
	b = binary.BigEndian.AppendUint32(b, p.Serial)
	return append(b, byte(p.Creation)), nil
}

// AppendOldPort appends a port identifier as PORT_EXT. A creation of more than 2 bits or an
// identifier of more than 32 is ErrRange, a node's name that is no atom ErrAtom.
func AppendOldPort(b []byte, p Port) ([]byte, error) {
	if p.ID > math.MaxUint32 {
		return b, ErrRange
	}
	b, err := appendOldNode(b, TagPortExt, p.Node, p.Creation)
	if err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint32(b, uint32(p.ID))
	return append(b, byte(p.Creation)), nil
}

// AppendOldRef appends a reference as NEW_REFERENCE_EXT (which is the older form, in spite of its
// name). A creation of more than 2 bits is ErrRange, a Len outside 1 to 5 ErrMalformed, a node's
// name that is no atom ErrAtom.
func AppendOldRef(b []byte, r Ref) ([]byte, error) {
	if r.Len == 0 || r.Len > maxRefWords {
		return b, ErrMalformed
	}
	if !validAtom(r.Node) {
		return b, ErrAtom
	}
	if r.Creation > 3 {
		return b, ErrRange
	}
	b = appendAtom(append(b, byte(TagNewReferenceExt), 0, r.Len), r.Node)
	b = append(b, byte(r.Creation))
	for _, w := range r.ID[:r.Len] {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b, nil
}

// AppendOldestRef appends a reference of one word as REFERENCE_EXT. More words are ErrMalformed, a
// creation of more than 2 bits is ErrRange, a node's name that is no atom ErrAtom.
func AppendOldestRef(b []byte, r Ref) ([]byte, error) {
	if r.Len != 1 {
		return b, ErrMalformed
	}
	b, err := appendOldNode(b, TagReferenceExt, r.Node, r.Creation)
	if err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint32(b, r.ID[0])
	return append(b, byte(r.Creation)), nil
}

// appendOldNode appends a tag and a node's name, when the creation can follow in one byte.
func appendOldNode(b []byte, tag Tag, node Atom, creation uint32) ([]byte, error) {
	if !validAtom(node) {
		return b, ErrAtom
	}
	if creation > 3 {
		return b, ErrRange
	}
	return appendAtom(append(b, byte(tag)), node), nil
}

// AppendCompressed appends one encoded term (without version byte) in compressed form, which may
// stand only directly after the version byte, whether or not that makes it smaller. See
// erl_ext_dist, "Introduction".
func AppendCompressed(b []byte, term Raw, level int) ([]byte, error) {
	if uint64(len(term)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	out := bytes.NewBuffer(appendHead(b, TagCompressed, len(term)))
	z, err := zlib.NewWriterLevel(out, level)
	if err != nil {
		return b, err
	}
	if _, err := z.Write(term); err != nil {
		return b, err
	}
	if err := z.Close(); err != nil {
		return b, err
	}
	return out.Bytes(), nil
}

// MarshalCompressed is Marshal with compression, when that makes the result smaller:
// term_to_binary(T, [{compressed, Level}]). level is one of compress/zlib, from 1 (fastest) to 9
// (smallest), -1 for its default; one that it does not know gives its error, a term of 4 GiB or
// more ErrTooLong.
func MarshalCompressed(v any, level int) ([]byte, error) {
	plain, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	packed, err := AppendCompressed([]byte{VersionMagic}, plain[1:], level)
	if err != nil {
		return nil, err
	}
	if len(packed) < len(plain) {
		return packed, nil
	}
	return plain, nil
}

// DecodePrefix makes the method prefix known to the tests.
func (o DecodeOptions) DecodePrefix(b []byte) (t Term, n int, err error) { return o.prefix(b) }
