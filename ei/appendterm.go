package ei

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendTerm appends a term, without version byte. What cannot be encoded (an atom that is too
// long, a float that is not finite, a map with two equal keys, nil, a Local inside another term, a
// term that contains itself) is an error; b is then returned unchanged. Of a Raw only the first
// byte is checked: a version byte is ErrTag, none ErrTruncated.
func AppendTerm(b []byte, t Term) ([]byte, error) {
	if l, ok := t.(Local); ok {
		return append(append(b, byte(TagLocalExt)), l...), nil
	}
	return appendTerm(b, t)
}

func appendTerm(b []byte, t Term) ([]byte, error) {
	out, err := appendShallow(b, t, place{left: shallow})
	if err != nil {
		return b, err
	}
	return out, nil
}

// shallow is how deep a term may be for appendShallow: that takes less time than an appender, but a
// goroutine's stack.
const shallow = 16

// A place is where in a term another one is.
type place struct {
	left  int  // how much deeper the nesting may go before an appender takes over
	inKey bool // it is in the key of a map
}

// appendShallow appends a term.
func appendShallow(b []byte, t Term, at place) (out []byte, err error) {
	switch t := t.(type) {
	case Int:
		return AppendInt(b, int64(t)), nil
	case Atom:
		return AppendAtom(b, t)
	case Tuple:
		if at.left > 0 {
			return appendElements(AppendTupleHeader(b, len(t)), t, at)
		}
	case List:
		if at.left > 0 && len(t) > 0 {
			b, err = appendElements(AppendListHeader(b, len(t)), t, at)
			return AppendNil(b), err
		}
	case Map:
		if at.left > 0 {
			return appendMap(b, t, at)
		}
	case ImproperList:
		if n := len(t.Elems); at.left > 0 && n > 0 {
			if b, err = appendElements(AppendListHeader(b, n), t.Elems, at); err != nil {
				return b, err
			}
			b, err = appendShallow(b, t.Tail, place{at.left - 1, at.inKey})
			return b, within(n, err)
		}
	case Fun, Record:
	case Pid:
		return AppendPid(b, t)
	case Ref:
		return AppendRef(b, t)
	case Binary:
		if err := tooMany(len(t)); err != nil {
			return b, err
		}
		return AppendBinary(b, t), nil
	default:
		b, _, err = appendLeaf(b, t)
		return b, err
	}
	return appendDeep(b, t, at.inKey)
}

// appendDeep appends a term that may have parts by an appender.
func appendDeep(b []byte, t Term, inKey bool) ([]byte, error) {
	a := appender{b: b}
	if inKey {
		a.inKeys = 1
	}
	err := a.term(t)
	return a.b, err
}

func appendElements(b []byte, ts []Term, at place) ([]byte, error) {
	err := tooMany(len(ts))
	at.left--
	for i := 0; i < len(ts) && err == nil; i++ {
		if b, err = appendShallow(b, ts[i], at); err != nil {
			return b, within(i, err)
		}
	}
	return b, err
}

func appendMap(b []byte, m Map, at place) ([]byte, error) {
	err := tooMany(len(m))
	if err != nil {
		return b, err
	}
	b = AppendMapHeader(b, len(m))
	for i := range m {
		if b, err = appendShallow(b, m[i].Key, place{at.left - 1, true}); err != nil {
			return b, within(2*i, err)
		}
		if b, err = appendShallow(b, m[i].Value, place{at.left - 1, at.inKey}); err != nil {
			return b, within(2*i+1, err)
		}
	}
	if keys := (keySet{}); !at.inKey && keys.duplicate(m) {
		// A runtime system ends the connection over such a map.
		return b, ErrDuplicate
	}
	return b, nil
}

// An appender appends a term that may have parts, however deep it is.
type appender struct {
	b      []byte
	in     appendLevel               // the term whose parts are being appended
	above  nested.Stack[appendLevel] // what that term is part of
	keys   keySet
	inKeys int // how many keys of maps in is within
}

type appendLevel struct {
	level
	start int // where it begins, if it is a closure
}

func isSameTerm(a, b *appendLevel) bool { return isSameLevel(&a.level, &b.level) }

func (a *appender) term(t Term) error {
	err := a.open(t)
	for err == nil && a.in.t != nil {
		err = a.parts()
	}
	for err != nil && a.in.t != nil && !isPathFull(err) { // the way there
		err = within(a.in.i-1, err)
		a.in, _ = a.above.Pop()
	}
	return err
}

// parts appends the rest of in, up to a part that may have parts itself.
func (a *appender) parts() error {
	for {
		part, ok := a.in.next()
		if !ok {
			return a.close()
		}
		var err error
		if a.b, ok, err = appendLeaf(a.b, part); err != nil {
			return err
		}
		if !ok {
			return a.open(part)
		}
	}
}

// open appends the head of a term that may have parts; if it has, they are next.
func (a *appender) open(t Term) (err error) {
	start, n := len(a.b), 0
	switch t := t.(type) {
	case Tuple:
		n = len(t)
		a.b = AppendTupleHeader(a.b, n)
	case List:
		n = len(t)
		a.b = AppendListHeader(a.b, n)
	case ImproperList:
		if len(t.Elems) > 0 {
			a.b = AppendListHeader(a.b, len(t.Elems))
		}
		n = len(t.Elems) + 1
	case Map:
		n = len(t)
		a.b = AppendMapHeader(a.b, n)
	case Fun:
		n = len(t.Free)
		a.b, err = appendFunHead(a.b, t)
	case Record:
		n = len(t.Fields)
		a.b, err = appendRecordHead(a.b, t)
	}
	if err != nil || n == 0 {
		return err
	}
	if a.in.inKey() {
		a.inKeys++
	}
	return a.enter(t, start, n)
}

// enter is for a term with n parts, which are next; its head begins at start.
func (a *appender) enter(t Term, start, n int) error {
	if err := tooMany(n); err != nil {
		return err
	}
	if a.in.t != nil {
		a.above.Push(a.in)
	}
	a.in = appendLevel{level{t: t}, start}
	if a.above.IsRepeated(&a.in, isSameTerm) {
		return ErrCyclic
	}
	return nil
}

// close ends the term in.
func (a *appender) close() (err error) {
	switch t := a.in.t.(type) {
	case List:
		a.b = AppendNil(a.b)
	case Map: // those within keys are looked at together with the outermost map
		if a.inKeys == 0 && a.keys.duplicate(t) {
			err = ErrDuplicate
		}
	case Fun:
		err = setFunSize(a.b[a.in.start:])
	}
	if a.in, _ = a.above.Pop(); a.in.inKey() {
		a.inKeys--
	}
	return err
}

// appendLeaf appends a term that cannot have parts; of any other one nothing, with ok false.
func appendLeaf(b []byte, t Term) (out []byte, ok bool, err error) {
	switch t := t.(type) {
	case Int:
		return AppendInt(b, int64(t)), true, nil
	case Atom:
		b, err = AppendAtom(b, t)
	case Tuple, List, Map, ImproperList, Fun, Record:
		return b, false, nil
	case Binary:
		if err := tooMany(len(t)); err != nil {
			return b, false, err
		}
		return AppendBinary(b, t), true, nil
	case BinaryKey:
		b, err = appendString(b, string(t), textBinary)
	case String:
		return AppendString(b, string(t)), true, nil
	case Float:
		b, err = AppendFloat(b, float64(t))
	case Pid:
		b, err = AppendPid(b, t)
	case Ref:
		b, err = AppendRef(b, t)
	case Port:
		b, err = AppendPort(b, t)
	case BigInt:
		if err := tooMany(len(t.mag)); err != nil {
			return b, false, err
		}
		return append(appendBigHeader(b, t.neg, len(t.mag)), t.mag...), true, nil
	case Bitstring:
		b, err = appendBitstring(b, t)
	case Export:
		b, err = appendExport(b, t)
	case Raw:
		b, err = appendRaw(b, t)
	case Local:
		return b, false, ErrLocal
	default:
		return b, false, unsupported(t)
	}
	return b, err == nil, err
}

func appendRaw(b []byte, t Raw) ([]byte, error) {
	switch {
	case len(t) == 0: // the Payload of a signal, say: what follows would take its place
		return b, fmt.Errorf("%w: an empty Raw is no term", ErrTruncated)
	case t[0] == VersionMagic: // what Marshal gives, and the C library's buffers hold
		return b, fmt.Errorf("%w 131: a Raw has no version byte", ErrTag)
	}
	return append(b, t...), nil
}

// appendBitstring appends a bitstring of whole bytes as BIT_BINARY_EXT, so that it goes back as it
// came; except an empty one, which OTP 27 would take for malformed.
func appendBitstring(b []byte, t Bitstring) ([]byte, error) {
	if err := tooMany(len(t.Data)); err != nil {
		return b, err
	}
	if len(t.Data) > 0 && t.Bits == 8 {
		b = append(appendHead(b, TagBitBinaryExt, len(t.Data)), t.Bits)
		return append(b, t.Data...), nil
	}
	return AppendBitstring(b, t.Data, t.Bits)
}

func appendFunHead(b []byte, f Fun) (out []byte, err error) {
	if f.Arity < -1 || f.Arity > math.MaxUint8 {
		return b, ErrRange
	}
	if !validAtom(f.Module) || !validAtom(f.Pid.Node) {
		return b, badAtom(f.Module, f.Pid.Node)
	}
	if err := tooMany(len(f.Free)); err != nil {
		return b, err
	}
	if f.Arity < 0 {
		out = appendHead(b, TagFunExt, len(f.Free))
		out, _ = AppendPid(out, f.Pid)
		out = appendAtom(out, f.Module)
		out = AppendInt(out, f.OldIndex)
		return AppendInt(out, f.OldUniq), nil
	}
	out = append(b, byte(TagNewFunExt), 0, 0, 0, 0, byte(f.Arity)) // the size comes last
	out = append(out, f.Uniq[:]...)
	out = binary.BigEndian.AppendUint32(out, f.Index)
	out = binary.BigEndian.AppendUint32(out, uint32(len(f.Free)))
	out = appendAtom(out, f.Module)
	out = AppendInt(out, f.OldIndex)
	out = AppendInt(out, f.OldUniq)
	out, _ = AppendPid(out, f.Pid)
	return out, setFunSize(out[len(b):])
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

func appendRecordHead(b []byte, r Record) (out []byte, err error) {
	if err := tooMany(len(r.Fields)); err != nil {
		return b, err
	}
	out = append(appendHead(b, TagRecordExt, len(r.Fields)), r.flags())
	if out, err = AppendAtom(out, r.Module); err != nil {
		return b, err
	}
	if out, err = AppendAtom(out, r.Name); err != nil {
		return b, err
	}
	if duplicateField(r.Fields) {
		return b, ErrDuplicate
	}
	for i := range r.Fields {
		if out, err = AppendAtom(out, r.Fields[i].Name); err != nil {
			return b, err
		}
	}
	return out, nil
}
