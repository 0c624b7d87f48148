package elixir

import "github.com/cnode-go/cnode/ei"

// A Keyword is a keyword list, [timeout: 5000, retry: true]: pairs in their order, of which several
// may have the same key. T is the type of all values: ei.Term for any. To read a keyword list into
// the fields of a struct, give the struct the option proplist (see ei.Append).
type Keyword[T any] []Pair[T]

// A Pair is one key with its value.
type Pair[T any] struct {
	_     struct{} `ei:"tuple"`
	Key   ei.Atom
	Value T
}

// Get gives the first value of a key, as Keyword.get/2.
func (k Keyword[T]) Get(key ei.Atom) (value T, ok bool) {
	for i := range k {
		if k[i].Key == key {
			return k[i].Value, true
		}
	}
	return value, false
}

// Map gives the first value of every key.
func (k Keyword[T]) Map() map[ei.Atom]T {
	m := make(map[ei.Atom]T, len(k))
	for i := range k {
		if _, double := m[k[i].Key]; !double {
			m[k[i].Key] = k[i].Value
		}
	}
	return m
}
