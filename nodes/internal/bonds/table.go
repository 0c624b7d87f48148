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
	few  []bond[K, V]        // those with node
	one  map[K]V             // these, once they have been many
	more map[ei.Atom]map[K]V // those with others
}

// A bond is a link or monitor.
type bond[K comparable, V any] struct {
	key   K
	value V
}

// fewBonds is how many need no map.
const fewBonds = 8

// get gives the value of a key with a node.
func (t *byNode[K, V]) get(node ei.Atom, key K) (v V, ok bool) {
	if node != t.node {
		v, ok = t.more[node][key]
		return v, ok
	}
	for i := range t.few {
		if t.few[i].key == key {
			return t.few[i].value, true
		}
	}
	v, ok = t.one[key]
	return v, ok
}

// find gives the value of a key, whatever the node.
func (t *byNode[K, V]) find(key K) (v V, ok bool) {
	if v, ok = t.get(t.node, key); ok {
		return v, true
	}
	for _, of := range t.more {
		if v, ok = of[key]; ok {
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
			for k, v := range t.one {
				if !yield(k, v) {
					return
				}
			}
		}
		for other, of := range t.more {
			if node != "" && node != other {
				continue
			}
			for k, v := range of {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (t *byNode[K, V]) len() int {
	n := len(t.few) + len(t.one)
	for _, of := range t.more {
		n += len(of)
	}
	return n
}

func (t *byNode[K, V]) empty() bool { return len(t.few) == 0 && len(t.one) == 0 && len(t.more) == 0 }

func (t *byNode[K, V]) put(node ei.Atom, key K, value V) {
	if len(t.few) == 0 && len(t.one) == 0 && t.more[node] == nil {
		t.node = node
	}
	if node != t.node {
		of := t.more[node]
		lazymap.Put(&of, key, value)
		lazymap.Put(&t.more, node, of)
		return
	}
	for i := range t.few {
		if t.few[i].key == key {
			t.few[i].value = value
			return
		}
	}
	if t.one == nil && len(t.few) < fewBonds {
		t.few = append(t.few, bond[K, V]{key, value})
		return
	}
	for _, b := range t.few {
		lazymap.Put(&t.one, b.key, b.value)
	}
	t.few = nil
	lazymap.Put(&t.one, key, value)
}

func (t *byNode[K, V]) remove(node ei.Atom, key K) {
	if node != t.node {
		if of := t.more[node]; of != nil {
			if delete(of, key); len(of) == 0 {
				delete(t.more, node)
			}
		}
		return
	}
	delete(t.one, key)
	for i := range t.few {
		if t.few[i].key == key {
			last := len(t.few) - 1
			t.few[i], t.few[last] = t.few[last], bond[K, V]{}
			t.few = t.few[:last]
			return
		}
	}
}
