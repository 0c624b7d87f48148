// Package lazymap has maps that are made with their first element.
package lazymap

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
