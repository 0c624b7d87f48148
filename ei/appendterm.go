package ei

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendTerm appends a term, without version byte. What cannot be encoded (an atom that is too long, a float that is not finite, a map with
// two equal keys, nil, a Local inside another term) is an error; b is then returned unchanged. A term that is nested more than 262144 deep,
// usually because it contains itself, is a *LimitError. Of a Raw only the first byte is checked: a version byte is ErrTag,
// none ErrTruncated.
func AppendTerm(b []byte, t Term) ([]byte, error) {
	if l, ok := t.(Local); ok {
		return append(append(b, byte(TagLocalExt)), l...), nil
	}
	out, err := appendTerm(b, t, outermost)
	if err != nil {
		return b, err
	}
	return out, nil
}

// maxNesting is how deep a term may be nested: one that contains itself would overflow the stack, which no program survives.
const maxNesting = 1 << 18

// A place is where in a term another one is.
type place struct {
	left  int  // how much deeper the nesting may go
	inKey bool // it is in the key of a map
}

var outermost = place{left: maxNesting}

func (p place) inside() place { return place{left: p.left - 1, inKey: p.inKey} }
func (p place) key() place    { return place{left: p.left - 1, inKey: true} }

func appendTerm(b []byte, t Term, at place) ([]byte, error) {
	if at.left < 0 {
		return b, &LimitError{Limit: "Depth", Max: maxNesting}
	}
	switch t := t.(type) {
	case Int:
		return AppendInt(b, int64(t)), nil
	case Atom:
		return AppendAtom(b, t)
	case Tuple:
		return appendTuple(b, t, at)
	case List:
		return appendList(b, t, nil, at)
	case Binary:
		if uint64(len(t)) > math.MaxUint32 {
			return b, ErrTooLong
		}
		return AppendBinary(b, t), nil
	case String:
		return AppendString(b, string(t)), nil
	case Map:
		return appendMap(b, t, at)
	case Float:
		return AppendFloat(b, float64(t))
	case Pid:
		return AppendPid(b, t)
	case Ref:
		return AppendRef(b, t)
	case Port:
		return AppendPort(b, t)
	case BigInt:
		if uint64(len(t.mag)) > math.MaxUint32 {
			return b, ErrTooLong
		}
		return append(appendBigHeader(b, t.neg, len(t.mag)), t.mag...), nil
	case Bitstring:
		return appendBitstring(b, t)
	case ImproperList:
		if t.Tail == nil {
			return b, within(len(t.Elems), &UnsupportedTypeError{})
		}
		return appendList(b, t.Elems, t.Tail, at)
	case Fun:
		return appendFun(b, t, at)
	case Export:
		return AppendExport(b, t)
	case Record:
		return appendRecord(b, t, at)
	case Raw:
		switch {
		case len(t) == 0: // the Payload of a signal, say: what follows would take its place
			return b, fmt.Errorf("%w: an empty Raw is no term", ErrTruncated)
		case t[0] == VersionMagic: // what Marshal gives, and the C library's buffers hold
			return b, fmt.Errorf("%w 131: a Raw has no version byte", ErrTag)
		}
		return append(b, t...), nil
	case Local:
		return b, ErrLocal
	}
	return b, &UnsupportedTypeError{Value: t}
}

func appendTuple(b []byte, t Tuple, at place) ([]byte, error) {
	if uint64(len(t)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	var err error
	b = AppendTupleHeader(b, len(t))
	for i, e := range t {
		if b, err = appendTerm(b, e, at.inside()); err != nil {
			return b, within(i, err)
		}
	}
	return b, nil
}

// appendList appends the elements with a tail, nil for a proper list.
func appendList(b []byte, elems []Term, tail Term, at place) ([]byte, error) {
	if uint64(len(elems)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	if len(elems) == 0 {
		if tail != nil {
			return appendTerm(b, tail, at.inside())
		}
		return AppendNil(b), nil
	}
	var err error
	b = AppendListHeader(b, len(elems))
	for i, e := range elems {
		if b, err = appendTerm(b, e, at.inside()); err != nil {
			return b, within(i, err)
		}
	}
	if tail == nil {
		return AppendNil(b), nil
	}
	if b, err = appendTerm(b, tail, at.inside()); err != nil {
		return b, within(len(elems), err)
	}
	return b, nil
}

func appendMap(b []byte, m Map, at place) ([]byte, error) {
	if uint64(len(m)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	var err error
	b = AppendMapHeader(b, len(m))
	for i := range m {
		if b, err = appendTerm(b, m[i].Key, at.key()); err != nil {
			return b, within(2*i, err)
		}
		if b, err = appendTerm(b, m[i].Value, at.inside()); err != nil {
			return b, within(2*i+1, err)
		}
	}
	if at.inKey { // it is checked together with the outermost map
		return b, nil
	}
	if keys := (keySet{}); keys.duplicate(m) { // a runtime system ends the connection over such a map
		return b, ErrDuplicate
	}
	return b, nil
}

// appendBitstring appends a bitstring of whole bytes as BIT_BINARY_EXT, so that it goes back as it came; except an empty one, which OTP 27
// would take for malformed.
func appendBitstring(b []byte, t Bitstring) ([]byte, error) {
	if uint64(len(t.Data)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	if len(t.Data) > 0 && t.Bits == 8 {
		b = append(append32(append(b, byte(TagBitBinaryExt)), len(t.Data)), t.Bits)
		return append(b, t.Data...), nil
	}
	return AppendBitstring(b, t.Data, t.Bits)
}

// AppendFun appends a closure: ei_encode_fun. One of arity -1 goes as FUN_EXT. An arity outside -1 to 255 is ErrRange.
func AppendFun(b []byte, f Fun) ([]byte, error) { return appendFun(b, f, outermost) }

func appendFun(b []byte, f Fun, at place) ([]byte, error) {
	if f.Arity < -1 || f.Arity > math.MaxUint8 {
		return b, ErrRange
	}
	if !validAtom(f.Module) || !validAtom(f.Pid.Node) {
		return b, badAtom(f.Module, f.Pid.Node)
	}
	if uint64(len(f.Free)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	out, start := b, len(b)
	if f.Arity < 0 {
		out = append32(append(out, byte(TagFunExt)), len(f.Free))
		out, _ = AppendPid(out, f.Pid)
		out = appendAtom(out, f.Module)
		out = AppendInt(out, f.OldIndex)
		out = AppendInt(out, f.OldUniq)
	} else {
		out = append(out, byte(TagNewFunExt), 0, 0, 0, 0, byte(f.Arity)) // the size comes last
		out = append(out, f.Uniq[:]...)
		out = binary.BigEndian.AppendUint32(out, f.Index)
		out = append32(out, len(f.Free))
		out = appendAtom(out, f.Module)
		out = AppendInt(out, f.OldIndex)
		out = AppendInt(out, f.OldUniq)
		out, _ = AppendPid(out, f.Pid)
	}
	var err error
	for i, e := range f.Free {
		if out, err = appendTerm(out, e, at.inside()); err != nil {
			return b, within(i, err)
		}
	}
	if f.Arity >= 0 {
		size := len(out) - start - 1
		if uint64(size) > math.MaxUint32 {
			return b, ErrTooLong
		}
		binary.BigEndian.PutUint32(out[start+1:], uint32(size))
	}
	return out, nil
}

func appendRecord(b []byte, r Record, at place) ([]byte, error) {
	if uint64(len(r.Fields)) > math.MaxUint32 {
		return b, ErrTooLong
	}
	if r.Flags&^RecordExported != 0 { // a runtime system refuses them
		return b, ErrRange
	}
	b = append(append32(append(b, byte(TagRecordExt)), len(r.Fields)), r.Flags)
	b, err := AppendAtom(b, r.Module)
	if err != nil {
		return b, err
	}
	if b, err = AppendAtom(b, r.Name); err != nil {
		return b, err
	}
	if duplicateField(r.Fields) {
		return b, ErrDuplicate
	}
	for i := range r.Fields {
		if b, err = AppendAtom(b, r.Fields[i].Name); err != nil {
			return b, err
		}
	}
	for i := range r.Fields {
		if b, err = appendTerm(b, r.Fields[i].Value, at.inside()); err != nil {
			return b, within(i, err)
		}
	}
	return b, nil
}
