package ei

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// An unmarshaler stores a term in a Go value, without recursion: what it is within is a stack.
type unmarshaler struct {
	c        Cursor
	o        DecodeOptions
	root     *plan
	shared   *DecodeOptions // o, for Unmarshalers
	newAtoms int
	texts    []byte   // the rest of a piece of memory that short strings share
	recent   [16]Atom // atoms met, by a hash

	in    filling        // the value whose parts are being stored; without a plan there is none
	above stack[filling] // what that value is part of
}

// A filling is a Go value whose parts are being stored.
type filling struct {
	plan *plan
	v    reflect.Value
	i, n int    // parts that were stored, and that there are
	at   int    // the field that was read last, of a struct; the variant that was chosen
	step step   // what comes next, of a map and of variants
	seen uint64 // fields that were stored, of a struct
	more *more
}

type step uint8

const (
	stepKey step = iota
	stepValue
	stepStore
)

// more is what only some fillings have.
type more struct {
	seen       []uint64      // fields of a struct beyond the first 64
	key, value reflect.Value // of a map, before they are stored in it; of variants the value
}

// run stores the next term in v.
func (u *unmarshaler) run(p *plan, v reflect.Value) error {
	err := u.all(p, v)
	if e, ok := err.(*UnmarshalError); ok && (e.Path == "" || e.ours) {
		whole := *e // an Unmarshaler may keep the original
		whole.ours = true
		whole.steps, whole.Path = u.path(e.steps)
		return &whole
	}
	return err
}

func (u *unmarshaler) all(p *plan, v reflect.Value) error {
	_, err := u.value(p, v)
	for err == nil && u.in.plan != nil {
		switch u.in.plan.kind {
		case kindSlice, kindArray:
			err = u.elements()
		case kindMap:
			err = u.pairs()
		case kindStruct:
			err = u.fields()
		case kindVariants:
			err = u.variant()
		default: // a Result: its only part is complete
			u.close()
		}
	}
	return err
}

func (u *unmarshaler) open(f filling) {
	if u.in.plan != nil {
		u.above.push(u.in)
	}
	u.in = f
}

// close ends the value in.
func (u *unmarshaler) close() { u.in, _ = u.above.pop() }

// value stores the next term in v. If that has parts, it only reads the head; in is then v, or the
// last of several of which each is the only part of the one before, and opened true.
func (u *unmarshaler) value(p *plan, v reflect.Value) (opened bool, err error) {
	for {
		more := false
		if p.leaf() {
			return opened, u.leaf(p, v)
		}
		switch p.kind {
		case kindPointer:
			if u.absent() {
				v.SetZero()
				return opened, nil
			}
			if v.IsNil() { // else what is there stays, where the term has nothing for it
				v.Set(reflect.New(p.elem.typ).Convert(p.typ))
			}
			p, v = p.elem, v.Elem()
		case kindOptional:
			if absent := u.absent(); absent || !v.Field(1).Bool() {
				if v.SetZero(); absent {
					return opened, nil
				}
			}
			v.Field(1).SetBool(true)
			p, v = p.elem, v.Field(0)
		case kindResult:
			if more, err = u.result(p, v); err != nil || !more {
				return opened, err
			}
			opened = true
			p, v = p.elem, v.Field(0)
		case kindSlice:
			more, err = u.openSlice(p, v)
			return opened || more, err
		case kindArray:
			more, err = u.openArray(p, v)
			return opened || more, err
		case kindMap:
			more, err = u.openMap(p, v)
			return opened || more, err
		case kindStruct:
			more, err = u.openStruct(p, v)
			return opened || more, err
		default:
			more, err = u.openVariant(p, v)
			return opened || more, err
		}
	}
}

// absent reads an atom that stands for nothing, if that is what comes next.
func (u *unmarshaler) absent() bool { return u.c.AtomIs("undefined") || u.c.AtomIs("nil") }

// tag gives the tag of the next term; 0, which is none, at the end of the input.
func (u *unmarshaler) tag() Tag {
	if u.c.off < len(u.c.b) {
		return Tag(u.c.b[u.c.off])
	}
	return 0
}

// fewBytes is how much memory a slice or a map gets before its first element is stored.
const fewBytes = 4096

// room gives for how many of n elements memory is taken before the first one is stored. Deep within
// others these are few: each head may announce more than ever comes.
func (u *unmarshaler) room(n, size int) int {
	if len(u.above.top) > 0 {
		return min(n, 1)
	}
	return min(n, max(1, fewBytes/max(1, size)))
}

// openSlice reads the head of a list, or of a tuple.
func (u *unmarshaler) openSlice(p *plan, v reflect.Value) (bool, error) {
	n, err := 0, error(nil)
	switch tag := u.tag(); {
	case p.asTuple:
		if n, err = u.c.Tuple(); err != nil {
			return false, u.mismatch(err, "a tuple")
		}
	case tag == TagStringExt:
		v.Set(reflect.MakeSlice(p.typ, 0, 0))
		return false, u.allBytes(p, v)
	default:
		if n, err = u.c.List(); err != nil {
			return false, u.mismatch(err, "a list")
		}
	}
	v.Set(reflect.MakeSlice(p.typ, 0, u.room(n, int(p.elem.typ.Size()))))
	if n == 0 {
		return false, nil
	}
	u.open(filling{plan: p, v: v, n: n})
	return true, nil
}

// allBytes stores a STRING_EXT that is all of a slice or an array.
func (u *unmarshaler) allBytes(p *plan, v reflect.Value) error {
	u.open(filling{plan: p, v: v})
	err := u.bytesAsElements()
	if err == nil { // else its place is part of the path
		u.close()
	}
	return err
}

// bytesAsElements appends the elements of a STRING_EXT to the slice in, or stores them in an array.
func (u *unmarshaler) bytesAsElements() error {
	s, err := u.c.Str()
	if err != nil {
		return err
	}
	f := &u.in
	if f.v.Kind() == reflect.Slice {
		f.v.Grow(len(s))
		f.v.SetLen(f.i + len(s))
	}
	for _, x := range s {
		f.i++
		if err := u.instead([]byte{byte(TagSmallIntegerExt), x}, f.plan.elem, f.v.Index(f.i-1)); err != nil {
			return err
		}
	}
	return nil
}

// instead stores an encoded term, without parts, that stands for what was read last.
func (u *unmarshaler) instead(term []byte, p *plan, v reflect.Value) error {
	after, place := u.c, u.c.off
	u.c.b, u.c.off = term, 0
	opened, err := u.value(p, v)
	for range 2 { // steps of a variant, the only thing that may be open now
		if opened && err == nil {
			err = u.variant()
		}
	}
	u.c = after
	if e, ok := err.(*UnmarshalError); ok {
		e.Offset = place
	}
	return err
}

func (u *unmarshaler) openArray(p *plan, v reflect.Value) (bool, error) {
	n, err := 0, error(nil)
	start := u.c.off
	switch {
	case p.asTuple:
		if n, err = u.c.Tuple(); err != nil {
			return false, u.mismatch(err, "a tuple")
		}
	case u.tag() == TagStringExt:
		if n = count16(u.c.b[start:]); n == v.Len() {
			return false, u.allBytes(p, v)
		}
	default:
		if n, err = u.c.List(); err != nil {
			return false, u.mismatch(err, "a list")
		}
	}
	if n != v.Len() {
		u.c.off = start
		return false, u.wrong(ErrType, fmt.Sprintf("one of %d elements", v.Len()))
	}
	if n == 0 {
		return false, nil
	}
	u.open(filling{plan: p, v: v, n: n})
	return true, nil
}

// elements stores the elements of a slice or an array.
func (u *unmarshaler) elements() error {
	f := &u.in
	p := f.plan.elem
	leaf := p.leaf()
	for f.i < f.n {
		if f.plan.kind == kindSlice && f.i == f.v.Len() {
			if f.i == f.v.Cap() {
				f.v.Grow(min(f.i, f.n-f.i))
			}
			f.v.SetLen(min(f.n, f.v.Cap()))
		}
		e := f.v.Index(f.i)
		f.i++
		if leaf {
			if err := u.leaf(p, e); err != nil {
				return err
			}
			continue
		}
		opened, err := u.value(p, e)
		if err != nil {
			return err
		}
		if opened {
			return nil
		}
	}
	if f.plan.asTuple {
		u.close()
		return nil
	}
	switch tag := u.tag(); {
	case tag == TagNilExt:
		u.c.off++
	case f.plan.kind == kindSlice && tag == TagListExt: // it goes on
		n, err := u.c.List()
		if err != nil {
			return err
		}
		f.n += n
		if n > 0 {
			return nil
		}
	case f.plan.kind == kindSlice && tag == TagStringExt:
		if err := u.bytesAsElements(); err != nil {
			return err
		}
	default:
		err := u.c.Nil()
		u.close()
		return u.mismatch(err, "the end of a proper list")
	}
	u.close()
	return nil
}

// openMap reads the head of a map for a Go map.
func (u *unmarshaler) openMap(p *plan, v reflect.Value) (bool, error) {
	n, err := u.c.Map()
	if err != nil {
		return false, u.mismatch(err, "a map")
	}
	v.Set(reflect.MakeMapWithSize(p.typ, u.room(n, 16)))
	if n == 0 {
		return false, nil
	}
	u.open(filling{plan: p, v: v, n: n, more: &more{
		key: reflect.New(p.key.typ).Elem(), value: reflect.New(p.elem.typ).Elem(),
	}})
	return true, nil
}

// pairs stores the pairs of a map.
func (u *unmarshaler) pairs() error {
	f := &u.in
	for {
		var opened bool
		var err error
		switch f.step {
		case stepKey:
			if f.i == f.n {
				u.close()
				return nil
			}
			f.i++
			f.step = stepValue
			f.more.key.SetZero()
			opened, err = u.value(f.plan.key, f.more.key)
		case stepValue:
			f.step = stepStore
			f.more.value.SetZero()
			opened, err = u.value(f.plan.elem, f.more.value)
		case stepStore:
			f.step = stepKey
			if !f.more.key.Comparable() { // there is an interface in it
				return &UnmarshalError{Offset: u.c.off, Got: "such a term", Want: "a key of a Go map", Err: ErrType}
			}
			f.v.SetMapIndex(f.more.key, f.more.value)
			if f.v.Len() != f.i {
				return &UnmarshalError{Offset: u.c.off, Err: ErrDuplicate}
			}
		}
		if err != nil || opened {
			return err
		}
	}
}

// result reads ok, {error, Reason}, or the head of {ok, T}; then T is next, and more true.
func (u *unmarshaler) result(p *plan, v reflect.Value) (more bool, err error) {
	v.SetZero()
	start := u.c.off
	if u.c.AtomIs("ok") {
		return false, nil
	}
	if u.c.AtomIs("error") {
		v.Field(1).Set(reflect.ValueOf(&ReasonError{Reason: Atom("error")}))
		return false, nil
	}
	if n, err := u.c.Tuple(); err == nil && n == 2 {
		if u.c.AtomIs("ok") {
			u.open(filling{plan: p, v: v})
			return true, nil
		}
		if u.c.AtomIs("error") {
			reason, err := u.c.TermWith(&u.o)
			v.Field(1).Set(reflect.ValueOf(&ReasonError{Reason: reason}))
			return false, err
		}
	}
	u.c.off = start
	return false, u.wrong(ErrType, "ok, {ok, Value} or {error, Reason}")
}

// openVariant chooses the variant of an interface by the atom, or by the first element of the
// tuple.
func (u *unmarshaler) openVariant(p *plan, v reflect.Value) (bool, error) {
	set := variantsOf(p.typ)
	if set == nil {
		return false, &MappingError{Type: p.typ, Reason: "no variants are registered for this interface (RegisterVariants)"}
	}
	if set.err != nil {
		return false, set.err
	}
	at := u.c
	if u.tag().IsTuple() {
		_, _ = at.Tuple()
	}
	name, err := at.Atom()
	if err != nil {
		return false, u.wrong(ErrType, set.want)
	}
	variant, ok := set.byName[name]
	if !ok && u.absent() {
		v.SetZero()
		return false, nil
	}
	if !ok {
		return false, u.wrong(ErrType, set.want)
	}
	u.open(filling{plan: p, v: v, step: stepValue, more: &more{value: reflect.New(variant.typ).Elem()}})
	u.in.at = variant.index
	return true, nil
}

// variant stores the variant that was chosen.
func (u *unmarshaler) variant() error {
	f := &u.in
	if f.step == stepStore {
		f.v.Set(f.more.value)
		u.close()
		return nil
	}
	f.step = stepStore
	_, err := u.value(variantsOf(f.plan.typ).all[f.at], f.more.value)
	return err
}

// count16 reads the length of a STRING_EXT; -1 if it is not there.
func count16(b []byte) int {
	if len(b) < 3 {
		return -1
	}
	return int(binary.BigEndian.Uint16(b[1:]))
}
