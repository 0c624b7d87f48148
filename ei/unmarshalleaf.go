package ei

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"time"
)

// leaf stores the next term in a value that has no parts.
func (u *unmarshaler) leaf(p *plan, v reflect.Value) error {
	if p.unmarshals {
		return u.custom(v)
	}
	switch p.kind {
	case kindBool:
		x, err := u.c.Bool()
		if err != nil {
			return u.mismatch(err, "true or false")
		}
		v.SetBool(x)
	case kindInt:
		return u.int(v)
	case kindUint:
		start := u.c.off
		x, err := u.c.Uint()
		if err == nil && v.OverflowUint(x) {
			u.c.off, err = start, ErrRange
		}
		if err != nil {
			return u.mismatch(err, kindName(v))
		}
		v.SetUint(x)
	case kindFloat:
		return u.float(v)
	case kindDuration:
		return u.duration(p, v)
	case kindBig:
		return u.big(v)
	case kindText:
		return u.string(p, v)
	case kindAtom:
		return u.atom(p, v)
	case kindBytes:
		return u.bytes(v)
	case kindByteArray:
		start := u.c.off
		data, err := u.c.Binary()
		if err == nil && len(data) != v.Len() {
			u.c.off = start
			return u.wrong(ErrType, "a binary of "+strconv.Itoa(v.Len())+" bytes")
		}
		if err != nil {
			return u.mismatch(err, "a binary")
		}
		copy(v.Bytes(), data)
	case kindAny:
		start := u.c.off
		t, err := u.tree()
		if err != nil {
			return err
		}
		if data, ok := t.(Binary); ok && p.inKey { // Go compares no slices
			if err := u.takeFor(start, 2*allocated(len(data))); err != nil {
				return err
			}
			if t = BinaryKey(data); p.typ.NumMethod() == 0 {
				v.Set(reflect.ValueOf(string(data)))
				return nil
			}
		}
		v.Set(reflect.ValueOf(t))
	case kindTerm:
		return u.term(v)
	case kindRaw:
		start := u.c.off
		raw, err := u.c.Raw()
		if err == nil {
			raw, err = u.copied(start, raw)
		}
		if err != nil {
			return err
		}
		v.SetBytes(raw)
	case kindCustom:
		return &MappingError{Type: p.typ, Reason: "it is a Marshaler, but no Unmarshaler"}
	default:
	}
	return nil
}

func (u *unmarshaler) int(v reflect.Value) error {
	start := u.c.off
	b := u.c.b[start:]
	var x int64
	var err error
	if len(b) >= 5 && b[0] == byte(TagIntegerExt) {
		u.c.off += 5
		x = int64(int32(binary.BigEndian.Uint32(b[1:])))
	} else {
		x, err = u.c.Int()
	}
	if err == nil && v.OverflowInt(x) {
		u.c.off, err = start, ErrRange
	}
	if err != nil {
		return u.mismatch(err, kindName(v))
	}
	v.SetInt(x)
	return nil
}

// duration stores an integer in the plan's unit, or infinity.
func (u *unmarshaler) duration(p *plan, v reflect.Value) error {
	if u.c.AtomIs("infinity") {
		v.SetInt(infinite)
		return nil
	}
	start := u.c.off
	x, err := u.c.Int()
	d := time.Duration(x) * p.unit
	if err == nil && (int64(d/p.unit) != x || d == infinite) {
		u.c.off, err = start, ErrRange
	}
	if err != nil {
		return u.mismatch(err, "an integer or infinity")
	}
	v.SetInt(int64(d))
	return nil
}

// float stores a float, or an integer that is one.
func (u *unmarshaler) float(v reflect.Value) error {
	start := u.c.off
	if u.tag().IsInteger() {
		x, err := u.c.Big()
		if err != nil {
			return err
		}
		f, _ := new(big.Float).SetInt(x).Float64()
		if v.Kind() == reflect.Float32 {
			f = float64(float32(f))
		}
		if exact, _ := big.NewFloat(min(max(f, -math.MaxFloat64), math.MaxFloat64)).Int(nil); exact.Cmp(x) != 0 {
			u.c.off = start
			return u.wrong(ErrRange, kindName(v))
		}
		v.SetFloat(f)
		return nil
	}
	f, err := u.c.Float()
	if err == nil && v.OverflowFloat(f) {
		u.c.off, err = start, ErrRange
	}
	if err != nil {
		return u.mismatch(err, kindName(v))
	}
	v.SetFloat(f)
	return nil
}

// string stores text.
func (u *unmarshaler) string(p *plan, v reflect.Value) error {
	b := u.c.b[u.c.off:]
	if len(b) >= 5 && b[0] == byte(TagBinaryExt) && p.text != textAtom {
		if n := binary.BigEndian.Uint32(b[1:]); uint64(n) <= uint64(len(b)-5) {
			u.c.off += 5 + int(n)
			if err := u.takeText(int(n)); err != nil {
				u.c.off -= 5 + int(n)
				return u.wrong(err, "")
			}
			v.SetString(u.text(b[5 : 5+n]))
			return nil
		}
	}
	if u.tag().IsAtom() && (p.text == textAtom || u.o.AtomText) {
		a, err := u.newAtom()
		if err != nil {
			return err
		}
		v.SetString(string(a))
		return nil
	}
	if p.text == textAtom {
		return u.wrong(ErrType, "an atom")
	}
	var buf [64]byte
	start := u.c.off
	data, err := u.c.appendIodata(buf[:0], p.text == textCharlist || u.o.LenientText)
	if err != nil {
		return u.mismatch(err, "text")
	}
	size := allocated(len(data))
	if cap(data) > len(buf) {
		size += grown(data)
	}
	if err := u.takeFor(start, size); err != nil {
		return err
	}
	v.SetString(string(data))
	return nil
}

// grown is what it has taken to append the bytes of data one by one, the memory given up included.
func grown(data []byte) int {
	if cap(data) <= fewBytes {
		return 2 * cap(data)
	}
	return 4 * cap(data)
}

// takeText takes memory for a text of n bytes.
func (u *unmarshaler) takeText(n int) error {
	switch {
	case n > slabBytes:
		return u.memory.take(allocated(n))
	case cap(u.texts)-len(u.texts) < n:
		room := max(n, min(2*cap(u.texts), slabMaxBytes))
		if err := u.memory.take(allocated(room)); err != nil {
			return err
		}
		u.texts = make([]byte, 0, room)
	}
	return nil
}

// text gives data as a string, for which takeText has taken memory. Short ones share memory: one
// that lives on keeps less than a few kilobytes.
func (u *unmarshaler) text(data []byte) string {
	if len(data) == 0 || len(data) > slabBytes {
		return string(data)
	}
	at := len(u.texts)
	u.texts = append(u.texts, data...)
	return stringOf(u.texts[at:])
}

// atom stores an atom in an Atom.
func (u *unmarshaler) atom(p *plan, v reflect.Value) error {
	if p.text == textBinary || p.text == textCharlist {
		return u.string(p, v)
	}
	a, err := u.newAtom()
	if err != nil {
		return u.mismatch(err, "an atom")
	}
	v.SetString(string(a))
	return nil
}

// newAtom reads an atom, and counts it if it has to be allocated.
func (u *unmarshaler) newAtom() (Atom, error) {
	start := u.c.off
	slot := &u.recent[0]
	if b := u.c.b[start:]; len(b) > 2 && Tag(b[0]) == TagSmallAtomUTF8Ext && b[1] > 0 && int(b[1]) <= len(b)-2 {
		text := b[2 : 2+int(b[1])]
		slot = &u.recent[(len(text)^int(text[0])^int(text[len(text)-1])<<2)%len(u.recent)]
		if string(*slot) == string(text) {
			u.c.off += 2 + len(text)
			return *slot, nil
		}
	}
	a, err := u.c.Atom()
	if err != nil {
		return "", err
	}
	if u.newAtoms++; u.newAtoms > u.o.Limits.Atoms {
		return "", u.c.fail(start, &LimitError{Limit: "Atoms", Max: u.o.Limits.Atoms})
	}
	if err := u.takeFor(start, allocated(len(a))); err != nil {
		return "", err
	}
	*slot = a
	return a, nil
}

// bytes stores I/O data.
func (u *unmarshaler) bytes(v reflect.Value) error {
	start := u.c.off
	if u.tag() != TagBinaryExt {
		data, err := u.c.AppendIodata(nil)
		if err != nil {
			return u.mismatch(err, "a binary")
		}
		if err := u.takeFor(start, grown(data)); err != nil {
			return err
		}
		if data == nil {
			data = []byte{}
		}
		v.SetBytes(data)
		return nil
	}
	data, err := u.c.Binary()
	if err != nil {
		return u.mismatch(err, "a binary")
	}
	if data, err = u.copied(start, data); err == nil {
		v.SetBytes(data)
	}
	return err
}

// copied gives data of the input, which began at start, as part of a Go value.
func (u *unmarshaler) copied(start int, data []byte) ([]byte, error) {
	if u.o.Alias {
		return data, nil
	}
	if err := u.takeFor(start, allocated(len(data))); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(data)), data...), nil
}

// big stores an integer of any size.
func (u *unmarshaler) big(v reflect.Value) error {
	start := u.c.off
	x, err := u.c.Big()
	if err != nil {
		return u.mismatch(err, "an integer")
	}
	if err := u.takeFor(start, bigSize+2*(u.c.off-start)); err != nil {
		return err
	}
	*v.Addr().Interface().(*big.Int) = *x
	return nil
}

// bigSize is what a big.Int takes besides its digits.
const bigSize = 64

// tree reads a term into the model.
func (u *unmarshaler) tree() (Term, error) {
	s := scanner{c: &u.c, strict: u.o.Strict, records: u.o.Records}
	end, err := s.whole(&u.o)
	if err != nil {
		return nil, err
	}
	if err := u.memory.takeTree(s.memory(end - u.c.off)); err != nil {
		return nil, u.wrong(err, "")
	}
	return u.c.build(&u.o, &s, end, u.o.Alias)
}

// term stores a term in a Go type of terms.
func (u *unmarshaler) term(v reflect.Value) error {
	start := u.c.off
	switch to := v.Addr().Interface().(type) {
	case *Pid:
		pid, err := u.c.Pid()
		if err != nil {
			return u.mismatch(err, "a pid")
		}
		*to = pid
		return u.takeFor(start, u.c.off-start)
	case *Ref:
		ref, err := u.c.Ref()
		if err != nil {
			return u.mismatch(err, "a reference")
		}
		*to = ref
		return u.takeFor(start, u.c.off-start)
	case *Bitstring: // a binary is one, too
		data, bits, err := u.c.Bitstring()
		if err != nil {
			return u.mismatch(err, "a bitstring")
		}
		if data, err = u.copied(start, data); err != nil {
			return err
		}
		*to = Bitstring{Data: data, Bits: bits}
	default:
		t, err := u.tree()
		if err != nil {
			return err
		}
		if l, ok := to.(*List); ok {
			if elements, ok := Elements(t); ok {
				*l = elements
				return nil
			}
		}
		r := reflect.ValueOf(t)
		if r.Type() != v.Type() {
			u.c.off = start
			return u.wrong(ErrType, termNames[v.Type()])
		}
		v.Set(r)
	}
	return nil
}

// termNames are what an error says where a type of terms is due.
var termNames = map[reflect.Type]string{
	reflect.TypeFor[BigInt]():       "an integer beyond 64 bits",
	reflect.TypeFor[String]():       "a list of bytes",
	reflect.TypeFor[List]():         "a list",
	reflect.TypeFor[ImproperList](): "an improper list",
	reflect.TypeFor[Tuple]():        "a tuple",
	reflect.TypeFor[Map]():          "a map",
	reflect.TypeFor[Port]():         "a port",
	reflect.TypeFor[Fun]():          "a closure",
	reflect.TypeFor[Export]():       "an external fun",
	reflect.TypeFor[Record]():       "a native record",
	reflect.TypeFor[Local]():        "a term in a node's own form",
}

// maxCustom is how deep one Unmarshaler may be within others: each has a part of the goroutine's
// stack.
const maxCustom = 10_000

// custom lets an Unmarshaler read.
func (u *unmarshaler) custom(v reflect.Value) error {
	if u.shared == nil {
		u.shared = &sharing{DecodeOptions: u.o}
		u.shared.budget = &u.shared.memory
	}
	at := u.c
	at.options = &u.shared.DecodeOptions
	if at.within++; at.within > maxCustom {
		return u.c.fail(u.c.off, &LimitError{Limit: "Unmarshalers within Unmarshalers", Max: maxCustom})
	}
	u.shared.memory = *u.memory // what it reads takes of the same
	err := v.Addr().Interface().(Unmarshaler).ReadTerm(&at)
	*u.memory = u.shared.memory
	if err != nil {
		var inner *UnmarshalError
		var syntax *SyntaxError
		if errors.As(err, &inner) || errors.As(err, &syntax) && !errors.Is(err, ErrType) && !errors.Is(err, ErrRange) {
			return err
		}
		return u.wrong(err, "")
	}
	if at.off <= u.c.off || at.off > len(u.c.b) {
		return u.wrong(ErrMalformed, "")
	}
	u.c.off = at.off
	return nil
}

// kindName names the numbers that a Go value can hold.
func kindName(v reflect.Value) string {
	switch name := v.Kind().String(); v.Kind() {
	case reflect.Float32:
		return "a float32"
	case reflect.Float64:
		return "a float"
	case reflect.Int, reflect.Int64:
		return "an integer"
	default:
		return "an integer (" + name + ")"
	}
}
