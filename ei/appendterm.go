package ei

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendTerm appends a term, without version byte. What cannot be encoded (an atom that is too long, a float that is not finite, a map with
// two equal keys, nil, a Local inside another term, a term that contains itself) is an error; b is then returned unchanged. Of a Raw only
// the first byte is checked: a version byte is ErrTag, none ErrTruncated.
func AppendTerm(b []byte, t Term) ([]byte, error) {
	if l, ok := t.(Local); ok {
		return append(append(b, byte(TagLocalExt)), l...), nil
	}
	return appendTerm(b, t)
}

func appendTerm(b []byte, t Term) ([]byte, error) {
	out, parts, err := appendHead(b, t)
	if err == nil && parts > 0 {
		out, err = appendParts(out, len(b), t)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// appendParts appends what t is made of, behind its head, which begins at start.
func appendParts(b []byte, start int, t Term) ([]byte, error) {
	var a appender
	for in := a.open(start, t); ; {
		var parts int
		var err error
		if b, start, parts, err = in.appendParts(b); err != nil {
			return b, a.located(in, err)
		}
		if parts > 0 {
			if in.inKey() {
				a.inKeys++
			}
			part := in.last()
			a.above.push(in)
			if in = a.open(start, part); a.above.isRepeated(&in, isSameLevel) {
				return b, ErrCyclic
			}
			continue
		}
		if b, err = a.close(b, in.t); err == nil {
			var ok bool
			if in, ok = a.above.pop(); !ok {
				return b, nil
			}
			if in.inKey() {
				a.inKeys--
			}
		} else if in, ok := a.above.pop(); ok {
			return b, a.located(in, err)
		} else {
			return b, err
		}
	}
}

// An appender knows what the term whose parts are being appended is part of.
type appender struct {
	above  stack[level]
	starts stack[int] // where the closures begin that are not complete: their sizes come last
	keys   keySet
	inKeys int // how many keys of maps the term is within
}

// open is for a term with parts whose head has been appended at start.
func (a *appender) open(start int, t Term) level {
	if _, ok := t.(Fun); ok {
		a.starts.push(start)
	}
	return level{t: t}
}

// close is for a term whose parts have been appended.
func (a *appender) close(b []byte, t Term) ([]byte, error) {
	switch t := t.(type) {
	case List:
		return AppendNil(b), nil
	case Map: // those within keys are looked at together with the outermost map
		if a.inKeys == 0 && a.keys.duplicate(t) { // a runtime system ends the connection over such a map
			return b, ErrDuplicate
		}
	case Fun:
		start, _ := a.starts.pop()
		return b, setFunSize(b[start:])
	}
	return b, nil
}

// located adds to err, about the part of in visited last, the way there.
func (a *appender) located(in level, err error) error {
	for ok := true; ok && !isPathFull(err); in, ok = a.above.pop() {
		err = within(in.i-1, err)
	}
	return err
}

// appendParts appends the parts that come next, up to one that has parts itself: the number of these, and where that one begins.
func (l *level) appendParts(b []byte) (out []byte, start, parts int, err error) {
	switch t := l.t.(type) {
	case Tuple:
		return l.appendSlice(b, t)
	case List:
		return l.appendSlice(b, t)
	}
	for {
		part, ok := l.next()
		if !ok {
			return b, 0, 0, nil
		}
		start = len(b)
		if b, parts, err = appendHead(b, part); parts > 0 || err != nil {
			return b, start, parts, err
		}
	}
}

func (l *level) appendSlice(b []byte, ts []Term) (out []byte, start, parts int, err error) {
	for i := l.i; i < len(ts); i++ {
		start = len(b)
		if b, parts, err = appendHead(b, ts[i]); parts > 0 || err != nil {
			l.i = i + 1
			return b, start, parts, err
		}
	}
	l.i = len(ts)
	return b, start, 0, nil
}

// appendHead appends the first part of a term, up to the terms that it is made of, and gives their number.
func appendHead(b []byte, t Term) (out []byte, parts int, err error) {
	switch t := t.(type) {
	case Int:
		return AppendInt(b, int64(t)), 0, nil
	case Atom:
		b, err = AppendAtom(b, t)
		return b, 0, err
	case Tuple:
		return AppendTupleHeader(b, len(t)), len(t), tooMany(len(t))
	case List:
		return AppendListHeader(b, len(t)), len(t), tooMany(len(t))
	case Binary:
		if err := tooMany(len(t)); err != nil {
			return b, 0, err
		}
		return AppendBinary(b, t), 0, nil
	case Map:
		return AppendMapHeader(b, len(t)), 2 * len(t), tooMany(len(t))
	case ImproperList:
		if len(t.Elems) > 0 {
			b = AppendListHeader(b, len(t.Elems))
		}
		return b, len(t.Elems) + 1, tooMany(len(t.Elems))
	case Fun:
		return appendFunHead(b, t)
	case Record:
		return appendRecordHead(b, t)
	}
	b, err = appendLeaf(b, t)
	return b, 0, err
}

// tooMany is the error for more than fits in a length field.
func tooMany(n int) error {
	if uint64(n) > math.MaxUint32 {
		return ErrTooLong
	}
	return nil
}

// appendLeaf appends a term that has no parts.
func appendLeaf(b []byte, t Term) ([]byte, error) {
	switch t := t.(type) {
	case String:
		return AppendString(b, string(t)), nil
	case Float:
		return AppendFloat(b, float64(t))
	case Pid:
		return AppendPid(b, t)
	case Ref:
		return AppendRef(b, t)
	case Port:
		return AppendPort(b, t)
	case BigInt:
		if err := tooMany(len(t.mag)); err != nil {
			return b, err
		}
		return append(appendBigHeader(b, t.neg, len(t.mag)), t.mag...), nil
	case Bitstring:
		return appendBitstring(b, t)
	case Export:
		return AppendExport(b, t)
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

// appendBitstring appends a bitstring of whole bytes as BIT_BINARY_EXT, so that it goes back as it came; except an empty one, which OTP 27
// would take for malformed.
func appendBitstring(b []byte, t Bitstring) ([]byte, error) {
	if err := tooMany(len(t.Data)); err != nil {
		return b, err
	}
	if len(t.Data) > 0 && t.Bits == 8 {
		b = append(append32(append(b, byte(TagBitBinaryExt)), len(t.Data)), t.Bits)
		return append(b, t.Data...), nil
	}
	return AppendBitstring(b, t.Data, t.Bits)
}

// AppendFun appends a closure: ei_encode_fun. One of arity -1 goes as FUN_EXT. An arity outside -1 to 255 is ErrRange.
func AppendFun(b []byte, f Fun) ([]byte, error) { return appendTerm(b, f) }

func appendFunHead(b []byte, f Fun) (out []byte, parts int, err error) {
	if f.Arity < -1 || f.Arity > math.MaxUint8 {
		return b, 0, ErrRange
	}
	if !validAtom(f.Module) || !validAtom(f.Pid.Node) {
		return b, 0, badAtom(f.Module, f.Pid.Node)
	}
	if err := tooMany(len(f.Free)); err != nil {
		return b, 0, err
	}
	if f.Arity < 0 {
		out = append32(append(b, byte(TagFunExt)), len(f.Free))
		out, _ = AppendPid(out, f.Pid)
		out = appendAtom(out, f.Module)
		out = AppendInt(out, f.OldIndex)
		return AppendInt(out, f.OldUniq), len(f.Free), nil
	}
	out = append(b, byte(TagNewFunExt), 0, 0, 0, 0, byte(f.Arity)) // the size comes last
	out = append(out, f.Uniq[:]...)
	out = binary.BigEndian.AppendUint32(out, f.Index)
	out = append32(out, len(f.Free))
	out = appendAtom(out, f.Module)
	out = AppendInt(out, f.OldIndex)
	out = AppendInt(out, f.OldUniq)
	out, _ = AppendPid(out, f.Pid)
	if len(f.Free) == 0 {
		err = setFunSize(out[len(b):])
	}
	return out, len(f.Free), err
}

// setFunSize puts in the size of a closure, which is complete.
func setFunSize(fun []byte) error {
	if Tag(fun[0]) != TagNewFunExt {
		return nil
	}
	size := len(fun) - 1
	binary.BigEndian.PutUint32(fun[1:], uint32(size))
	return tooMany(size)
}

func appendRecordHead(b []byte, r Record) (out []byte, parts int, err error) {
	if err := tooMany(len(r.Fields)); err != nil {
		return b, 0, err
	}
	if r.Flags&^RecordExported != 0 { // a runtime system refuses them
		return b, 0, ErrRange
	}
	out = append(append32(append(b, byte(TagRecordExt)), len(r.Fields)), r.Flags)
	if out, err = AppendAtom(out, r.Module); err != nil {
		return b, 0, err
	}
	if out, err = AppendAtom(out, r.Name); err != nil {
		return b, 0, err
	}
	if duplicateField(r.Fields) {
		return b, 0, ErrDuplicate
	}
	for i := range r.Fields {
		if out, err = AppendAtom(out, r.Fields[i].Name); err != nil {
			return b, 0, err
		}
	}
	return out, len(r.Fields), nil
}
