package bonds

import (
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
)

// byNode is a process's table of links or monitors. It is kept apart for each node on the other
// side, for the end of a connection ends those with one node, and must not cost time for all
// others. Most processes deal with one node, and with few processes there.
type byNode[K comparable, V any] struct {
	node ei.Atom
	few  []bond[K, V]                             // those with node, unless they have been many
	more lazymap.Map[ei.Atom, *lazymap.Map[K, V]] // these, and those with others
}

// A bond is a link or monitor.
type bond[K comparable, V any] struct {
	key   K
	value V
}

// fewBonds is how many need no map.
const fewBonds = 8

func (t *byNode[K, V]) with(node ei.Atom) *lazymap.Map[K, V] {
	of, _ := t.more.Get(node)
	return of
}

// get gives the value of a key with a node.
func (t *byNode[K, V]) get(node ei.Atom, key K) (v V, ok bool) {
	if node == t.node {
		for i := range t.few {
			if t.few[i].key == key {
				return t.few[i].value, true
			}
		}
	}
	return t.with(node).Get(key)
}

// find gives the value of a key, whatever the node.
func (t *byNode[K, V]) find(key K) (v V, ok bool) {
	if v, ok = t.get(t.node, key); ok {
		return v, true
	}
	for _, of := range t.more.All() {
		if v, ok = of.Get(key); ok {
			return v, true
		}
	}
	return v, false
}

// all gives those with a node; with an empty name, all. What is given may be removed meanwhile.
func (t *byNode[K, V]) all(node ei.Atom) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if node == "" || node == t.node {
			for _, b := range slices.Backward(t.few) {
				if !yield(b.key, b.value) {
					return
				}
			}
		}
		for other, of := range t.more.All() {
			if node != "" && node != other {
				continue
			}
			for k, v := range of.All() {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (t *byNode[K, V]) len() int {
	n := len(t.few)
	for _, of := range t.more.All() {
		n += of.Len()
	}
	return n
}

func (t *byNode[K, V]) empty() bool { return len(t.few) == 0 && t.more.Len() == 0 }

func (t *byNode[K, V]) put(node ei.Atom, key K, value V) {
	of := t.with(node)
	if len(t.few) == 0 && of == nil {
		t.node = node
	}
	if node == t.node && of == nil {
		for i := range t.few {
			if t.few[i].key == key {
				t.few[i].value = value
				return
			}
		}
		if len(t.few) < fewBonds {
			t.few = append(t.few, bond[K, V]{key, value})
			return
		}
	}
	if of == nil {
		of = new(lazymap.Map[K, V])
		t.more.Put(node, of)
	}
	if node == t.node {
		for _, b := range t.few {
			of.Put(b.key, b.value)
		}
		t.few = nil
	}
	of.Put(key, value)
}

func (t *byNode[K, V]) remove(node ei.Atom, key K) {
	if of := t.with(node); of != nil {
		if of.Delete(key); of.Len() == 0 {
			t.more.Delete(node)
		}
		return
	}
	if node != t.node {
		return
	}
	for i := range t.few {
		if t.few[i].key == key {
			last := len(t.few) - 1
			t.few[i], t.few[last] = t.few[last], bond[K, V]{}
			t.few = t.few[:last]
			return
		}
	}
}
