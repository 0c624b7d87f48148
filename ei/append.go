package ei

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
)

// AppendVersion appends the version byte that stands before a term: ei_encode_version.
func AppendVersion(b []byte) []byte { return append(b, VersionMagic) }

// AppendInt appends an integer as a runtime system does: ei_encode_longlong, but INTEGER_EXT for
// all that fits in 32 bits (in the C library, 28).
func AppendInt(b []byte, v int64) []byte {
	if uint64(v) <= math.MaxUint8 {
		return append(b, byte(TagSmallIntegerExt), byte(v))
	}
	return appendInteger(b, v)
}

func appendInteger(b []byte, v int64) []byte {
	switch {
	case int64(int32(v)) == v:
		return appendHead(b, TagIntegerExt, int(v))
	case v < 0:
		return appendSmallBig(b, 1, -uint64(v))
	}
	return appendSmallBig(b, 0, uint64(v))
}

// AppendUint appends an integer as AppendInt does: ei_encode_ulonglong.
func AppendUint(b []byte, v uint64) []byte {
	if v <= math.MaxInt64 {
		return AppendInt(b, int64(v))
	}
	return appendSmallBig(b, 0, v)
}

func appendSmallBig(b []byte, sign byte, mag uint64) []byte {
	n := (bits.Len64(mag) + 7) / 8
	b = append(b, byte(TagSmallBigExt), byte(n), sign)
	for range n {
		b = append(b, byte(mag))
		mag >>= 8
	}
	return b
}

// AppendBig appends an integer of any size: ei_encode_bignum. Erlang nodes end the connection over
// an integer of more than 4,194,303 bits (OTP 27 and 29; OTP 25 takes some 8 MB).
func AppendBig(b []byte, v *big.Int) []byte {
	if v.IsInt64() {
		return AppendInt(b, v.Int64())
	}
	n := (v.BitLen() + 7) / 8
	b = appendBigHeader(b, v.Sign() < 0, n)
	start := len(b)
	b = append(b, make([]byte, n)...)
	v.FillBytes(b[start:])
	reverse(b[start:])
	return b
}

func appendBigHeader(b []byte, neg bool, n int) []byte {
	if n <= math.MaxUint8 {
		b = append(b, byte(TagSmallBigExt), byte(n))
	} else {
		b = appendHead(b, TagLargeBigExt, n)
	}
	if neg {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendFloat appends a float: ei_encode_double. An infinity or a NaN is ErrFloat; b is then
// returned unchanged.
func AppendFloat(b []byte, f float64) ([]byte, error) {
	v := math.Float64bits(f)
	if !isFinite(v) {
		return b, ErrFloat
	}
	b = append(b, byte(TagNewFloatExt), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(b[len(b)-8:], v)
	return b, nil
}

// AppendAtom appends an atom in UTF-8: ei_encode_atom_as. One of more than 255 characters, or not
// valid UTF-8, is ErrAtom; b is then returned unchanged.
func AppendAtom(b []byte, a Atom) ([]byte, error) {
	if !validAtom(a) {
		return b, badAtom(a)
	}
	return appendAtom(b, a), nil
}

// appendAtom appends an atom that is known to be valid.
func appendAtom(b []byte, a Atom) []byte {
	if len(a) <= math.MaxUint8 {
		b = append(b, byte(TagSmallAtomUTF8Ext), byte(len(a)))
	} else {
		b = append(b, byte(TagAtomUTF8Ext), byte(len(a)>>8), byte(len(a)))
	}
	return append(b, a...)
}

// AppendBool appends one of the atoms true and false: ei_encode_boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return appendAtom(b, "true")
	}
	return appendAtom(b, "false")
}

// AppendNil appends the empty list: ei_encode_empty_list.
func AppendNil(b []byte) []byte { return append(b, byte(TagNilExt)) }

// AppendString appends the list of the bytes of s: ei_encode_string_len. Up to 65535 of them go as
// STRING_EXT.
func AppendString(b []byte, s string) []byte {
	switch {
	case s == "":
		return AppendNil(b)
	case len(s) <= math.MaxUint16:
		b = append(b, byte(TagStringExt), byte(len(s)>>8), byte(len(s)))
		return append(b, s...)
	}
	b = AppendListHeader(b, len(s))
	for i := range len(s) {
		b = append(b, byte(TagSmallIntegerExt), s[i])
	}
	return AppendNil(b)
}

// AppendBinary appends a binary: ei_encode_binary. data must be shorter than 4 GiB.
func AppendBinary(b, data []byte) []byte { return append(AppendBinaryHeader(b, len(data)), data...) }

// AppendBinaryHeader appends the head of a binary of size bytes (less than 4 GiB), which must be
// appended next.
func AppendBinaryHeader(b []byte, size int) []byte {
	return appendHead(b, TagBinaryExt, size)
}

// AppendBitstring appends a bitstring: ei_encode_bitstring. bits is how many high bits of the last
// byte of data count, 1 to 8; its other bits are sent as zero. 8 bits, or no data and 0, make a
// binary. Other numbers are ErrMalformed; b is then returned unchanged.
func AppendBitstring(b, data []byte, bits uint8) ([]byte, error) {
	if len(data) == 0 && bits == 0 || bits == 8 {
		return AppendBinary(b, data), nil
	}
	if len(data) == 0 || bits == 0 || bits > 8 {
		return b, ErrMalformed
	}
	b = append(appendHead(b, TagBitBinaryExt, len(data)), bits)
	b = append(b, data...)
	b[len(b)-1] &= 0xff << (8 - bits)
	return b, nil
}

// AppendTupleHeader appends the head of a tuple of arity elements, which must be appended next:
// ei_encode_tuple_header.
func AppendTupleHeader(b []byte, arity int) []byte {
	if uint(arity) <= math.MaxUint8 {
		return append(b, byte(TagSmallTupleExt), byte(arity))
	}
	return appendHead(b, TagLargeTupleExt, arity)
}

// AppendListHeader appends the head of a list of n elements, which must be appended next, followed
// by a tail (AppendNil for a proper list): ei_encode_list_header. An n of 0 is the empty list,
// complete.
func AppendListHeader(b []byte, n int) []byte {
	if n == 0 {
		return AppendNil(b)
	}
	return appendHead(b, TagListExt, n)
}

// AppendMapHeader appends the head of a map of that many pairs, which must be appended next, each
// as key and value: ei_encode_map_header. No key may come twice: a runtime system refuses such a
// map.
func AppendMapHeader(b []byte, pairs int) []byte {
	return appendHead(b, TagMapExt, pairs)
}

// appendHead appends a tag and n, a value, length or count in 4 bytes.
func appendHead(b []byte, tag Tag, n int) []byte {
	b = append(b, byte(tag), 0, 0, 0, 0) // first room for all, which is quicker than byte by byte
	binary.BigEndian.PutUint32(b[len(b)-4:], uint32(n))
	return b
}

// AppendPid appends a process identifier: ei_encode_pid. A node name that is not an atom is
// ErrAtom.
func AppendPid(b []byte, p Pid) ([]byte, error) {
	if !validAtom(p.Node) {
		return b, badAtom(p.Node)
	}
	b = appendAtom(append(b, byte(TagNewPidExt)), p.Node)
	b = binary.BigEndian.AppendUint32(b, p.ID)
	b = binary.BigEndian.AppendUint32(b, p.Serial)
	return binary.BigEndian.AppendUint32(b, p.Creation), nil
}

// AppendPort appends a port identifier: ei_encode_port. Identifiers of up to 28 bits go as
// NEW_PORT_EXT, which every release reads; larger ones, and ports that were received in that form,
// go as V4_PORT_EXT. A node name that is not an atom is ErrAtom.
func AppendPort(b []byte, p Port) ([]byte, error) {
	if !validAtom(p.Node) {
		return b, badAtom(p.Node)
	}
	if p.ID < 1<<shortPortBits && !p.long {
		b = appendAtom(append(b, byte(TagNewPortExt)), p.Node)
		b = binary.BigEndian.AppendUint32(b, uint32(p.ID))
	} else {
		b = appendAtom(append(b, byte(TagV4PortExt)), p.Node)
		b = binary.BigEndian.AppendUint64(b, p.ID)
	}
	return binary.BigEndian.AppendUint32(b, p.Creation), nil
}

// AppendRef appends a reference: ei_encode_ref. A node name that is not an atom is ErrAtom, a Len
// outside 1 to 5 ErrMalformed.
func AppendRef(b []byte, r Ref) ([]byte, error) {
	if !validAtom(r.Node) {
		return b, badAtom(r.Node)
	}
	if r.Len == 0 || r.Len > maxRefWords {
		return b, ErrMalformed
	}
	b = appendAtom(append(b, byte(TagNewerReferenceExt), 0, r.Len), r.Node)
	b = binary.BigEndian.AppendUint32(b, r.Creation)
	for _, w := range r.ID[:r.Len] {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b, nil
}

// appendExport appends an external fun. A name that is not an atom is ErrAtom.
func appendExport(b []byte, f Export) ([]byte, error) {
	if !validAtom(f.Module) || !validAtom(f.Function) {
		return b, badAtom(f.Module, f.Function)
	}
	b = appendAtom(append(b, byte(TagExportExt)), f.Module)
	b = appendAtom(b, f.Function)
	return append(b, byte(TagSmallIntegerExt), f.Arity), nil
}

// appendString appends text in one of its forms.
func appendString(b []byte, s string, form textForm) ([]byte, error) {
	switch form {
	case textAtom:
		return AppendAtom(b, Atom(s))
	case textCharlist:
		return appendCharlist(b, s), nil
	}
	if err := tooMany(len(s)); err != nil {
		return b, err
	}
	return append(AppendBinaryHeader(b, len(s)), s...), nil
}

// appendCharlist appends the list of the characters of s, in the short form where it has one.
func appendCharlist(b []byte, s string) []byte {
	n, short := 0, true
	for _, r := range s {
		n++
		short = short && r <= math.MaxUint8
	}
	switch {
	case n == 0:
		return AppendNil(b)
	case short && n <= math.MaxUint16:
		b = append(b, byte(TagStringExt), byte(n>>8), byte(n))
		for _, r := range s {
			b = append(b, byte(r))
		}
		return b
	}
	b = AppendListHeader(b, n)
	for _, r := range s {
		b = AppendInt(b, int64(r))
	}
	return AppendNil(b)
}

// tooMany is the error for more than fits in a length field.
func tooMany(n int) error {
	if uint64(n) > math.MaxUint32 {
		return ErrTooLong
	}
	return nil
}
