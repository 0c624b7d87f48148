// Package lazymap has maps that are made with their first element.
package lazymap

import (
	"iter"
	"maps"
)

// Put sets an element of a map, and makes the map if there is none: most mailboxes and connections
// have no use for theirs, and a node may have very many of them.
func Put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// PutFew is Put for a map that has most elements at the most: then a new one takes the place of
// another one.
func PutFew[K comparable, V any](m *map[K]V, key K, value V, most int) {
	if _, ok := (*m)[key]; !ok && len(*m) >= most {
		for other := range *m {
			delete(*m, other)
			break
		}
	}
	Put(m, key, value)
}

// A Map gives memory back when most of its elements have gone; a map of Go keeps what it has once
// needed. The zero Map is empty.
type Map[K comparable, V any] struct {
	all  map[K]V
	most int // elements since all was made
}

// few is how many elements a Map may have had whose memory is kept.
const few = 64

// Put sets an element.
func (m *Map[K, V]) Put(key K, value V) {
	Put(&m.all, key, value)
	m.most = max(m.most, len(m.all))
}

// Delete removes an element.
func (m *Map[K, V]) Delete(key K) {
	if delete(m.all, key); m.most > few && len(m.all) <= m.most/8 {
		left := m.all
		*m = Map[K, V]{}
		for k, v := range left {
			m.Put(k, v)
		}
	}
}

// Get is the element of a key; of the nil Map, too.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	if m != nil {
		v, ok = m.all[key]
	}
	return v, ok
}

// Len is how many elements there are.
func (m *Map[K, V]) Len() int { return len(m.all) }

// All yields the elements. What has been yielded may be deleted meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, V] { return maps.All(m.all) }
