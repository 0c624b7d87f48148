package elixir

import "github.com/cnode-go/cnode/ei"

// A MapSet is a set: MapSet.new([1, 2]), %MapSet{}. T is a type that ei maps, and of which Go's ==
// tells the elements apart; any for elements of many kinds, of which binaries are read as strings
// and the others as an ei.Term. A nil set of Members is an empty one.
type MapSet[T comparable] struct {
	_       struct{}     `ei:"struct=Elixir.MapSet"`
	Members map[T]Member `ei:"map"`
	// Version is 2 in the sets of Elixir up to 1.14, where 0 is none, as in those of Elixir 1.15 and
	// later. Each works with the sets of the other, but == calls them different.
	Version int `ei:"version,omitempty"`
}

// A Member is the value of an element in a set's map, [].
type Member struct{}

// AppendTerm appends [].
func (Member) AppendTerm(b []byte) ([]byte, error) { return ei.AppendNil(b), nil }

// ReadTerm reads [].
func (*Member) ReadTerm(c *ei.Cursor) error { return c.Nil() }

// NewMapSet gives a set of elements, as Elixir 1.15 and later have it.
func NewMapSet[T comparable](elements ...T) MapSet[T] {
	s := MapSet[T]{Members: make(map[T]Member, len(elements))}
	for _, x := range elements {
		s.Members[x] = Member{}
	}
	return s
}

// Has reports whether x is an element.
func (s MapSet[T]) Has(x T) bool {
	_, ok := s.Members[x]
	return ok
}

// Add makes x an element.
func (s *MapSet[T]) Add(x T) {
	if s.Members == nil {
		s.Members = map[T]Member{}
	}
	s.Members[x] = Member{}
}
