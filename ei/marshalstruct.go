package ei

import (
	"errors"
	"reflect"
)

// openStruct appends the head of what a struct is.
func (w *valueWriter) openStruct(p *plan, v reflect.Value) error {
	r := p.record
	n := len(r.fields)
	if r.omits {
		n = 0
		for i := range r.fields {
			if _, ok := r.fields[i].of(v); ok {
				n++
			}
		}
	}
	switch r.form {
	case formAtom:
		w.b = appendAtom(w.b, r.tag)
		return nil
	case formTuple:
		if r.tag == "" {
			w.b = AppendTupleHeader(w.b, n)
		} else {
			w.b = appendAtom(AppendTupleHeader(w.b, n+1), r.tag)
		}
	case formProplist:
		w.b = AppendListHeader(w.b, n)
	case formMap:
		if r.module == "" {
			w.b = AppendMapHeader(w.b, n)
		} else {
			w.b = appendAtom(appendAtom(AppendMapHeader(w.b, n+1), "__struct__"), r.module)
		}
	}
	if n == 0 {
		return nil
	}
	return w.open(writing{plan: p, v: v, n: len(r.fields)})
}

// of gives the field of the struct v, unless it is left out.
func (f *fieldPlan) of(v reflect.Value) (field reflect.Value, ok bool) {
	if len(f.index) == 1 {
		field = v.Field(f.index[0])
	} else {
		for i, x := range f.index {
			if i > 0 && v.Kind() == reflect.Pointer {
				if v.IsNil() {
					return v, false
				}
				v = v.Elem()
			}
			v = v.Field(x)
		}
		field = v
	}
	return field, !f.omitEmpty || !isEmpty(field)
}

// isEmpty reports whether v is what the option omitempty leaves out: a zero that was computed (of a
// big.Int, say) is not always Go's zero value.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Array:
		for i := range v.Len() {
			if !isEmpty(v.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range v.NumField() {
			if !isEmpty(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

// fields appends the rest of a struct, up to a field that has parts itself.
func (w *valueWriter) fields() error {
	f := &w.in
	r := f.plan.record
	for f.i < f.n {
		field := &r.fields[f.i]
		f.i++
		v, ok := field.of(f.v)
		if !ok {
			continue
		}
		if r.form == formProplist {
			w.b = AppendTupleHeader(w.b, 2)
		}
		w.b = append(w.b, field.encoded...)
		if field.simple {
			var err error
			if w.b, err = appendValue(w.b, field.plan, v); err != nil {
				return err
			}
			continue
		}
		opens := w.opens
		if err := w.value(field.plan, v); err != nil || w.opens != opens {
			return err
		}
	}
	if r.form == formProplist {
		w.b = AppendNil(w.b)
	}
	w.in, _ = w.above.Pop()
	return nil
}

// result appends ok, {error, Reason}, or the head of {ok, T}; then T is next.
func (w *valueWriter) result(p *plan, v reflect.Value) (done bool, err error) {
	if err, ok := v.Field(1).Interface().(error); ok {
		w.b = appendAtom(AppendTupleHeader(w.b, 2), "error")
		if reason := (interface{ Term() Term })(nil); errors.As(err, &reason) {
			return true, w.any(reason.Term())
		}
		return true, w.any(err.Error())
	}
	if t := p.elem.typ; t.Kind() == reflect.Struct && t.NumField() == 0 {
		w.b = appendAtom(w.b, "ok")
		return true, nil
	}
	w.b = appendAtom(AppendTupleHeader(w.b, 2), "ok")
	return false, w.open(writing{plan: p, v: v})
}
