package ei

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// An unmarshaler stores a term in a Go value, without recursion: what it is within is a stack.
type unmarshaler struct {
	c        Cursor
	o        DecodeOptions
	root     *plan
	memory   *budget
	shared   *sharing // what Unmarshalers get; nil: there was none yet
	newAtoms int
	texts    []byte   // the rest of a piece of memory that short strings share
	recent   [16]Atom // atoms met, by a hash

	in    filling               // the value whose parts are being stored; without a plan there is none
	above nested.Stack[filling] // what that value is part of
	high  int                   // how many these are, and …
	most  int                   // … how many there was memory taken for
	spare *more                 // of a map that is complete, for the next one …
	of    *plan                 // … of that plan
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

// open begins a value with parts. The error is that its parts may be no deeper.
func (u *unmarshaler) open(f filling) error {
	if u.in.plan != nil {
		u.above.Push(u.in)
		if u.high++; u.high > u.most {
			u.most = u.high
			if err := u.memory.take(levelSize); err != nil {
				return &UnmarshalError{Offset: u.c.off, Err: err}
			}
		}
	}
	u.in = f
	return nil
}

// levelSize is what a value takes while its parts are being stored.
var levelSize = int(reflect.TypeFor[filling]().Size())

// close ends the value in.
func (u *unmarshaler) close() {
	in, ok := u.above.Pop()
	if u.in = in; ok {
		u.high--
	}
}

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
				if err := u.takeFor(u.c.off, allocated(p.elem.size)); err != nil {
					return opened, err
				}
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
	if u.above.IsHigh() {
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
		v.Set(p.empty)
		return false, u.allBytes(p, v)
	default:
		if n, err = u.c.List(); err != nil {
			return false, u.mismatch(err, "a list")
		}
	}
	if n == 0 {
		v.Set(p.empty)
		return false, nil
	}
	v.SetZero()
	if err := u.grow(p, v, u.room(n, p.elem.size)); err != nil {
		return false, err
	}
	return true, u.open(filling{plan: p, v: v, n: n})
}

// grow makes room for n elements in a slice.
func (u *unmarshaler) grow(p *plan, v reflect.Value, n int) error {
	size, had := p.elem.size, v.Cap()
	if n <= had {
		return nil
	}
	err := u.memory.take(product(n, size))
	if err == nil {
		v.Grow(n - v.Len())
		err = u.memory.take((v.Cap() - n) * size)
	}
	if err != nil {
		return u.tooMany(err, "list", n, size)
	}
	return nil
}

// allBytes stores a STRING_EXT that is all of a slice or an array.
func (u *unmarshaler) allBytes(p *plan, v reflect.Value) error {
	err := u.open(filling{plan: p, v: v})
	if err == nil {
		err = u.bytesAsElements()
	}
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
		f.v.SetLen(f.i)
		if err := u.grow(f.plan, f.v, f.i+len(s)); err != nil {
			u.close()
			return err
		}
		f.v.SetLen(f.i + len(s))
	}
	if err := u.memory.take(allocated(2 * len(s))); err != nil {
		u.close()
		return u.tooMany(err, "list", len(s), 2)
	}
	terms := make([]byte, 0, 2*len(s))
	for _, x := range s {
		f.i++
		at := len(terms)
		terms = append(terms, byte(TagSmallIntegerExt), x)
		if err := u.instead(terms[at:], f.plan.elem, f.v.Index(f.i-1)); err != nil {
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
	return true, u.open(filling{plan: p, v: v, n: n})
}

// elements stores the elements of a slice or an array.
func (u *unmarshaler) elements() error {
	f := &u.in
	p := f.plan.elem
	leaf := p.leaf()
	for f.i < f.n {
		if f.plan.kind == kindSlice && f.i == f.v.Len() {
			if f.i == f.v.Cap() { // the first ones were there: so will be the others
				if err := u.grow(f.plan, f.v, f.n); err != nil {
					u.close()
					return err
				}
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
	start := u.c.off
	n, err := u.c.Map()
	if err != nil {
		return false, u.mismatch(err, "a map")
	}
	room := max(u.room(n, p.slot), min(n, mapGroup))
	if err := u.makeMap(p, v, room); err != nil || n == 0 {
		return false, err
	}
	scratch := u.spare
	if u.spare = nil; scratch == nil || u.of != p {
		if err := u.takeFor(start, scratchSize+allocated(p.key.size)+allocated(p.elem.size)); err != nil {
			return false, err
		}
		scratch = &more{key: reflect.New(p.key.typ).Elem(), value: reflect.New(p.elem.typ).Elem()}
	}
	return true, u.open(filling{plan: p, v: v, n: n, at: room, more: scratch})
}

// scratchSize is what a more takes.
var scratchSize = allocated(int(reflect.TypeFor[more]().Size()))

// makeMap stores a map with room for n pairs in v.
func (u *unmarshaler) makeMap(p *plan, v reflect.Value, n int) error {
	if err := u.memory.take(p.mapSize(n)); err != nil {
		return u.tooMany(err, "map", n, p.slot)
	}
	v.Set(reflect.MakeMapWithSize(p.typ, n))
	return nil
}

// growMap makes room for all pairs of the map in.
func (u *unmarshaler) growMap() error {
	f := &u.in
	pairs := f.v.MapRange()
	pairs.Next() // from here on it has the map itself, and not the place where that is
	err := u.makeMap(f.plan, f.v, f.n)
	if err == nil {
		err = u.memory.take(product(f.i, f.plan.apart))
	}
	for more := err == nil; more; more = pairs.Next() {
		f.more.key.SetIterKey(pairs)
		f.more.value.SetIterValue(pairs)
		f.v.SetMapIndex(f.more.key, f.more.value)
	}
	f.at = f.n
	return err
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
				u.spare, u.of = f.more, f.plan
				u.close()
				return nil
			}
			if f.i == f.at { // as with a slice
				if err := u.growMap(); err != nil {
					u.close()
					return err
				}
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
			if f.plan.anyKey && !f.more.key.Comparable() {
				return &UnmarshalError{Offset: u.c.off, Got: "such a term", Want: "a key of a Go map", Err: ErrType}
			}
			if err := u.memory.take(f.plan.apart); err != nil {
				return u.tooMany(err, "map", f.n, f.plan.slot+f.plan.apart)
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
		if err := u.takeFor(start, reasonSize); err != nil {
			return false, err
		}
		v.Field(1).Set(reflect.ValueOf(&ReasonError{Reason: Atom("error")}))
		return false, nil
	}
	if n, err := u.c.Tuple(); err == nil && n == 2 {
		if u.c.AtomIs("ok") {
			return true, u.open(filling{plan: p, v: v})
		}
		if u.c.AtomIs("error") {
			if err := u.takeFor(start, reasonSize); err != nil {
				return false, err
			}
			reason, err := u.tree()
			v.Field(1).Set(reflect.ValueOf(&ReasonError{Reason: reason}))
			return false, err
		}
	}
	u.c.off = start
	return false, u.wrong(ErrType, "ok, {ok, Value} or {error, Reason}")
}

// reasonSize is what a ReasonError takes.
var reasonSize = int(reflect.TypeFor[ReasonError]().Size())

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
	if err := u.takeFor(u.c.off, scratchSize+2*allocated(int(variant.typ.Size()))); err != nil {
		return false, err
	}
	f := filling{plan: p, v: v, at: variant.index, step: stepValue, more: &more{value: reflect.New(variant.typ).Elem()}}
	return true, u.open(f)
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

// takeFor takes memory for a part that begins at off, and is refused as that.
func (u *unmarshaler) takeFor(off, n int) error {
	if err := u.memory.take(n); err != nil {
		u.c.off = off
		return u.wrong(err, "")
	}
	return nil
}

// tooMany says that the memory for n parts is refused.
func (u *unmarshaler) tooMany(err error, kind string, n, size int) error {
	return &UnmarshalError{Offset: u.c.off, Err: err, Got: fmt.Sprintf("%s of %d, each of %d bytes in Go", kind, n, size)}
}
