package ei

import (
	"bytes"
	"math"
	"reflect"
	"slices"
)

// A goMap is a Go map that is being appended. It is sorted by the encoded keys, which are therefore
// made first: at once, if they have no parts, or else each in the place of the first one, where it
// is taken away again.
type goMap struct {
	pairs []goPair
	start int    // of the first key
	keys  []byte // encoded, one after the other
}

type goPair struct {
	of, value reflect.Value
	key       []byte // of, encoded
}

// newGoMap copies the pairs of a map, all keys and all values at once.
func newGoMap(r reflect.Value) *goMap {
	n := r.Len()
	keys, values := reflect.MakeSlice(reflect.SliceOf(r.Type().Key()), n, n), reflect.MakeSlice(reflect.SliceOf(r.Type().Elem()), n, n)
	m := &goMap{pairs: make([]goPair, 0, n)}
	for it := r.MapRange(); len(m.pairs) < n && it.Next(); {
		i := len(m.pairs)
		m.pairs = append(m.pairs, goPair{of: keys.Index(i), value: values.Index(i)})
		m.pairs[i].of.SetIterKey(it)
		m.pairs[i].value.SetIterValue(it)
	}
	return m
}

func (w *valueWriter) openMap(p *plan, v reflect.Value) error {
	n := v.Len()
	if err := tooMany(n); err != nil {
		return err
	}
	if n == 0 {
		w.b = AppendMapHeader(w.b, 0)
		return nil
	}
	m := newGoMap(v)
	f := writing{plan: p, v: v, n: 2 * n, pairs: m}
	if p.key.simple {
		if err := m.encodeKeys(p.key); err != nil {
			return err
		}
		w.b = AppendMapHeader(w.b, n)
		f.i = n
	}
	return w.open(f)
}

// pairs appends the keys and values of a map, up to one that has parts itself.
func (w *valueWriter) pairs() error {
	f := &w.in
	for {
		var err error
		if w.b, err = f.pairs.appendBetween(w.b, f.i); err != nil {
			w.in, _ = w.above.Pop() // it is about the map
			return err
		}
		if f.i == f.n {
			w.in, _ = w.above.Pop()
			return nil
		}
		i, n := f.i, len(f.pairs.pairs)
		f.i++
		opens := w.opens
		if i < n {
			err = w.value(f.plan.key, f.pairs.pairs[i].of)
		} else {
			err = w.value(f.plan.elem, f.pairs.pairs[i-n].value)
		}
		if err != nil || w.opens != opens {
			return err
		}
	}
}

// encodeKeys makes the keys, which have no parts, and sorts by them.
func (m *goMap) encodeKeys(p *plan) (err error) {
	m.keys = make([]byte, 0, 16*len(m.pairs))
	for i := range m.pairs {
		at := len(m.keys)
		if m.keys, err = appendValue(m.keys, p, m.pairs[i].of); err != nil {
			return within("key", err)
		}
		m.pairs[i].key = m.keys[at:len(m.keys):len(m.keys)] // an earlier array keeps what it had
	}
	return m.sort(p.kind == kindText || p.kind == kindAtom || p.kind == kindInt || p.kind == kindUint)
}

// appendBetween appends what comes after the first i keys and values: nothing after a key, since it
// is taken away, and a key before a value.
func (m *goMap) appendBetween(b []byte, i int) ([]byte, error) {
	n := len(m.pairs)
	switch {
	case i == 0:
		b = AppendMapHeader(b, n)
		m.start = len(b)
		return b, nil
	case i <= n && m.pairs[i-1].key == nil:
		at := len(m.keys)
		m.keys = append(m.keys, b[m.start:]...)
		m.pairs[i-1].key = m.keys[at:len(m.keys):len(m.keys)] // an earlier array keeps what it had
		if b = b[:m.start]; i < n {
			return b, nil
		}
		if err := m.sort(false); err != nil {
			return b, err
		}
	case i == 2*n:
		return b, nil
	}
	return append(b, m.pairs[i-n].key...), nil
}

// sort sorts the pairs by their encoded keys; different: no two can be the same term.
func (m *goMap) sort(different bool) error {
	slices.SortFunc(m.pairs, func(x, y goPair) int { return bytes.Compare(x.key, y.key) })
	if different {
		return nil
	}
	if slices.ContainsFunc(m.pairs, func(p goPair) bool { return !hasOneForm(p.key) }) {
		keys := make(Map, 0, len(m.pairs))
		for i := range m.pairs {
			keys = append(keys, Pair{Key: Raw(m.pairs[i].key)})
		}
		if newMapSorter(false).hasDuplicate(keys) {
			return ErrDuplicate
		}
	}
	for i := 1; i < len(m.pairs); i++ {
		if bytes.Equal(m.pairs[i-1].key, m.pairs[i].key) {
			return ErrDuplicate
		}
	}
	return nil
}

// hasOneForm reports whether key is the only encoding of its term that this package may write.
func hasOneForm(key []byte) bool {
	c := Cursor{b: key}
	switch Tag(key[0]) {
	case TagSmallAtomUTF8Ext, TagSmallIntegerExt, TagBinaryExt, TagNewFloatExt:
		return true
	case TagAtomUTF8Ext: // a Marshaler may have written a long form without need
		a, err := c.Atom()
		return err == nil && len(a) > math.MaxUint8
	case TagIntegerExt:
		i, err := c.Int()
		return err == nil && uint64(i) > math.MaxUint8
	}
	return false
}
