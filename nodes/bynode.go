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

func (t *byNode[K, V]) len() int {
	n := len(t.one)
	for _, of := range t.more {
		n += len(of)
	}
	return n
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

// An scope is a set of processes: those of a node, or those of one worker of this node. When a
// connection ends, links and monitors with the processes of its scope break.
type scope struct {
	node   string
	worker int // 0: the whole node
}

func (c *Conn) extent() scope { return scope{c.peer.Name, c.worker} }

func (e scope) has(pid ei.Pid) bool {
	return string(pid.Node) == e.node && (e.worker == 0 || workerOf(pid) == e.worker)
}

func (e scope) hasTarget(t target) bool { return t.node == e.node && t.worker == e.worker }

// put sets an element of a map, and makes the map if there is none: most mailboxes and connections
// have no use for theirs, and a node may have very many of them.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// putFew is put for a map that has most elements at the most: then a new one takes the place of
// another one.
func putFew[K comparable, V any](m *map[K]V, key K, value V, most int) {
	if _, ok := (*m)[key]; !ok && len(*m) >= most {
		for other := range *m {
			delete(*m, other)
			break
		}
	}
	put(m, key, value)
}
