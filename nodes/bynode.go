package nodes

import (
	"iter"
	"maps"

	"github.com/cnode-go/cnode/ei"
)

// byNode is a process's table of links or monitors. It is kept apart for each node on the other
// side, for the end of a connection ends those with one node, and must not cost time for all
// others. Most processes deal with one node.
type byNode[K comparable, V any] struct {
	node ei.Atom
	one  map[K]V             // those with node
	more map[ei.Atom]map[K]V // those with others
}

// bondTables are a process's links and monitors.
type bondTables struct {
	links    byNode[ei.Pid, *link]
	watchers byNode[monitorID, watcher] // who monitors this process
	watching byNode[ei.Ref, target]     // what this process monitors
}

// of gives those with a node, to be read.
func (t *byNode[K, V]) of(node ei.Atom) map[K]V {
	if node == t.node {
		return t.one
	}
	return t.more[node]
}

// find gives the value of a key, whatever the node.
func (t *byNode[K, V]) find(key K) (v V, ok bool) {
	if v, ok = t.one[key]; ok {
		return v, true
	}
	for _, of := range t.more {
		if v, ok = of[key]; ok {
			return v, true
		}
	}
	return v, false
}

// all gives those with a node; with an empty name, all.
func (t *byNode[K, V]) all(node ei.Atom) iter.Seq2[K, V] {
	if node != "" {
		return maps.All(t.of(node))
	}
	return func(yield func(K, V) bool) {
		for k, v := range t.one {
			if !yield(k, v) {
				return
			}
		}
		for _, of := range t.more {
			for k, v := range of {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (t *byNode[K, V]) empty() bool { return len(t.one) == 0 && len(t.more) == 0 }

func (t *byNode[K, V]) put(node ei.Atom, key K, value V) {
	if len(t.one) == 0 && t.more[node] == nil {
		t.node = node
	}
	if node == t.node {
		put(&t.one, key, value)
		return
	}
	of := t.more[node]
	put(&of, key, value)
	put(&t.more, node, of)
}

func (t *byNode[K, V]) remove(node ei.Atom, key K) {
	of := t.of(node)
	delete(of, key)
	if len(of) == 0 && node != t.node {
		delete(t.more, node)
	}
}
