package ei

import (
	"bytes"
	"math"
	"reflect"
	"slices"
)

// A valueLevel is a Go value made of other values, which are being appended: a slice, an array, a
// pointer or a map.
type valueLevel struct {
	list  []any         // the value, or
	of    reflect.Value // a value of any other type
	pairs *goMap        // the contents of a map
	i, n  int           // values visited, and all; of a map first the keys
}

// next gives the next value.
func (l *valueLevel) next() any {
	i := l.i
	l.i++
	switch {
	case l.list != nil:
		return l.list[i]
	case l.pairs != nil && i < len(l.pairs.pairs):
		return l.pairs.pairs[i].of.Interface()
	case l.pairs != nil:
		return l.pairs.pairs[i-len(l.pairs.pairs)].value.Interface()
	case l.of.Kind() == reflect.Pointer:
		return l.of.Elem().Interface()
	}
	return l.of.Index(i).Interface()
}

// within adds to err, about the value visited last, the step that leads to it.
func (l *valueLevel) within(err error) error {
	i := l.i - 1
	switch {
	case l.pairs != nil && i < len(l.pairs.pairs):
		return within("key", err)
	case l.pairs != nil:
		return within(l.pairs.pairs[i-len(l.pairs.pairs)].of, err)
	case l.list == nil && l.of.Kind() == reflect.Pointer:
		return err
	}
	return within(i, err)
}

func isSameValue(a, b *valueLevel) bool {
	if a.list != nil || b.list != nil {
		return isSameSlice(a.list, b.list)
	}
	if a.of.Type() != b.of.Type() || a.n != b.n {
		return false
	}
	return a.of.Kind() != reflect.Array && a.of.UnsafePointer() == b.of.UnsafePointer()
}

// appendValues appends what in is made of.
func appendValues(b []byte, in valueLevel) ([]byte, error) {
	var above stack[valueLevel]
	for {
		var err error
		if in.pairs != nil {
			if b, err = in.pairs.appendBetween(b, in.i); err != nil {
				return b, locatedValue(&above, err)
			}
		}
		if in.i == in.n {
			if in.pairs == nil && (in.list != nil || in.of.Kind() != reflect.Pointer) {
				b = AppendNil(b)
			}
			var ok bool
			if in, ok = above.pop(); !ok {
				return b, nil
			}
			continue
		}
		v := in.next()
		var inner valueLevel
		if b, inner, err = appendAny(b, v, true); err != nil {
			above.push(in)
			return b, locatedValue(&above, err)
		}
		if inner.n > 0 {
			above.push(in)
			if in = inner; above.isRepeated(&in, isSameValue) {
				return b, ErrCyclic
			}
		}
	}
}

// locatedValue adds to err, about the value visited last of the level on top, the way there.
func locatedValue(above *stack[valueLevel], err error) error {
	for {
		in, ok := above.pop()
		if !ok || isPathFull(err) {
			return err
		}
		err = in.within(err)
	}
}

// A goMap is a Go map that is being appended. It is sorted by the encoded keys, which are therefore
// made first, each in the place of the first one, and taken away again.
type goMap struct {
	pairs []goPair
	start int // of the first key
}

type goPair struct {
	of, value reflect.Value
	key       []byte // of, encoded
}

func newGoMap(r reflect.Value) *goMap {
	m := &goMap{pairs: make([]goPair, 0, r.Len())}
	for it := r.MapRange(); it.Next(); {
		m.pairs = append(m.pairs, goPair{of: it.Key(), value: it.Value()})
	}
	return m
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
	case i <= n:
		m.pairs[i-1].key = bytes.Clone(b[m.start:])
		if b = b[:m.start]; i < n {
			return b, nil
		}
		if err := m.sort(); err != nil {
			return b, err
		}
	case i == 2*n:
		return b, nil
	}
	return append(b, m.pairs[i-n].key...), nil
}

// sort sorts the pairs by their encoded keys.
func (m *goMap) sort() error {
	keys, manyForms := make(Map, 0, len(m.pairs)), false
	for i := range m.pairs {
		key := m.pairs[i].key
		keys = append(keys, Pair{Key: Raw(key)})
		manyForms = manyForms || !hasOneForm(key)
	}
	if manyForms && newMapSorter(false).hasDuplicate(keys) {
		return ErrDuplicate
	}
	slices.SortFunc(m.pairs, func(x, y goPair) int { return bytes.Compare(x.key, y.key) })
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
