package ei

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// openStruct reads the head of what a struct is.
func (u *unmarshaler) openStruct(p *plan, v reflect.Value) (bool, error) {
	f := filling{plan: p, v: v, at: -1}
	r := p.record
	start := u.c.off
	var err error
	switch r.form {
	case formAtom:
		if u.c.AtomIs(r.tag) {
			return false, nil
		}
		return false, u.wrong(ErrType, "the atom "+r.tag.String())
	case formTuple:
		f.n = len(r.fields)
		n, err := u.c.Tuple()
		if err != nil {
			return false, u.mismatch(err, r.tupleWant())
		}
		if r.tag != "" {
			if n--; n >= 0 && !u.c.AtomIs(r.tag) {
				n = -1
			}
		}
		if n != f.n {
			u.c.off = start
			return false, u.wrong(ErrType, r.tupleWant())
		}
	case formProplist:
		if f.n, err = u.c.List(); err != nil {
			return false, u.mismatch(err, "a property list")
		}
	case formMap:
		if f.n, err = u.c.Map(); err != nil {
			return false, u.mismatch(err, r.mapWant())
		}
	}
	if f.n == 0 {
		return false, nil
	}
	if r.many > 0 {
		if err := u.takeFor(start, scratchSize+8*r.many); err != nil {
			return false, err
		}
		f.more = &more{seen: make([]uint64, r.many)}
	}
	return true, u.open(f)
}

func (r *recordPlan) tupleWant() string {
	parts := make([]string, 0, len(r.fields)+1)
	if r.tag != "" {
		parts = append(parts, r.tag.String())
	}
	for i := range r.fields {
		parts = append(parts, r.fields[i].key)
	}
	return fmt.Sprintf("a tuple {%s}", strings.Join(parts, ", "))
}

func (r *recordPlan) mapWant() string {
	if r.module != "" {
		return "a map, of the struct " + string(r.module) + ","
	}
	return "a map"
}

// fields stores the fields of a struct.
func (u *unmarshaler) fields() error {
	f := &u.in
	r := f.plan.record
	for f.i < f.n {
		bare := false
		if r.form == formTuple {
			f.at = f.i
			f.i++
		} else {
			f.i++
			known, err := u.fieldKey(r, &bare)
			if err != nil {
				return err
			}
			if !known {
				continue
			}
		}
		field := &r.fields[f.at]
		at := f.v
		if len(field.index) == 1 {
			at = at.Field(field.index[0])
		} else {
			var err error
			if at, err = u.fieldAt(at, field.index); err != nil {
				return err
			}
		}
		if bare {
			if err := u.instead(trueTerm, field.plan, at); err != nil {
				return err
			}
			continue
		}
		if field.leaf() {
			if err := u.leaf(field.plan, at); err != nil {
				return err
			}
			continue
		}
		opened, err := u.value(field.plan, at)
		if err != nil {
			return err
		}
		if opened {
			return nil
		}
	}
	if r.form == formProplist {
		if u.tag() == TagListExt { // it goes on
			n, err := u.c.List()
			if f.n += n; err != nil || n > 0 {
				return err
			}
		} else if err := u.c.Nil(); err != nil {
			u.close()
			return u.mismatch(err, "the end of a proper list")
		}
	}
	u.close()
	return nil
}

// trueTerm is the atom true.
var trueTerm = AppendBool(nil, true)

// fieldAt gives the field at index, within what is embedded, which it makes where it is not there.
func (u *unmarshaler) fieldAt(v reflect.Value, index []int) (reflect.Value, error) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if err := u.takeFor(u.c.off, allocated(int(v.Type().Elem().Size()))); err != nil {
					return v, err
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, nil
}

// fieldKey reads the key before a value, and sets the field that it is of; for a bare atom in a
// property list no value follows. If the struct has no use for it, it is skipped, value and all.
func (u *unmarshaler) fieldKey(r *recordPlan, bare *bool) (known bool, err error) {
	f := &u.in
	start := u.c.off
	if r.form == formProplist {
		if n, err := u.c.Tuple(); err != nil {
			*bare = true
		} else if n != 2 {
			u.c.off = start
			return false, u.unknown(true)
		}
	}
	key := u.c.off
	next := f.at + 1
	if next >= len(r.fields) {
		next = 0
	}
	if next < len(r.fields) && bytes.HasPrefix(u.c.b[key:], r.fields[next].encoded) {
		u.c.off += len(r.fields[next].encoded)
		f.at = next
	} else {
		i, ok, err := u.findField(r)
		switch {
		case err != nil:
			return false, err
		case ok:
			f.at = i
		case r.module != "" && u.c.AtomIs("__struct__"):
			return false, u.module(r)
		default:
			return false, u.unknown(*bare)
		}
	}
	if f.isRepeated(f.at) {
		if r.form == formProplist { // the first one counts, as for proplists:get_value
			u.c.off = start
			return false, u.c.Skip()
		}
		u.c.off = key
		return false, u.wrong(ErrDuplicate, "")
	}
	return true, nil
}

// findField reads a key, if it is that of a field.
func (u *unmarshaler) findField(r *recordPlan) (i int, ok bool, err error) {
	var buf [64]byte
	start := u.c.off
	var text []byte
	switch {
	case r.keys == textBinary:
		text, err = u.c.Binary()
	case r.keys == textCharlist:
		text, err = u.c.appendIodata(buf[:0], true)
	case u.tag() == TagSmallAtomUTF8Ext:
		text, _, u.c.off, err = u.c.atomBody(start)
	default:
		var a Atom
		a, err = u.c.Atom()
		text = append(buf[:0], a...)
	}
	if err != nil {
		u.c.off = start
		if !errors.Is(err, ErrType) {
			return 0, false, err
		}
		return 0, false, nil
	}
	if i, ok = r.byKey[string(text)]; !ok {
		u.c.off = start
	}
	return i, ok, nil
}

// unknown skips a key that the struct has no field for, with its value.
func (u *unmarshaler) unknown(alone bool) error {
	if u.o.RefuseUnknown || u.in.plan.record.strict {
		u.in.at = -1 // it is about no field
		return u.wrong(ErrUnknownKey, "")
	}
	if err := u.c.Skip(); err != nil || alone {
		return err
	}
	return u.c.Skip()
}

// module reads which struct of Elixir a map is.
func (u *unmarshaler) module(r *recordPlan) error {
	if !u.c.AtomIs(r.module) {
		return u.wrong(ErrType, "the struct "+string(r.module))
	}
	return nil
}

// isRepeated notes that field i was read, and reports whether it had been.
func (f *filling) isRepeated(i int) bool {
	seen := &f.seen
	if i >= 64 {
		seen = &f.more.seen[i/64-1]
	}
	bit := uint64(1) << (i % 64)
	if *seen&bit != 0 {
		return true
	}
	*seen |= bit
	return false
}
