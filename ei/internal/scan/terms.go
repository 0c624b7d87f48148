package scan

import "github.com/cnode-go/cnode/ei/internal/nested"

// A Kind is what a term with parts is.
type Kind int8

// The kinds.
const (
	NoParts Kind = iota
	Tuple
	List
	Tail // a list whose tail is next
	Map
	Record // of Erlang: module and name, then names of fields and values in turn
)

// A Level is a term of type T of which only the beginning has been read.
type Level[T any] struct {
	Kind     Kind
	Parts    []T // so far
	N        int // of a list, how many brackets are open; of a map or record, where it begins
	Keywords int // of Elixir: how many of the last parts are keys of keywords, and their values
}

// InKey reports whether the next part is the key of a map.
func (l *Level[T]) InKey() bool { return l.Kind == Map && len(l.Parts)%2 == 0 }

// A Grammar is what a language says of the terms that it writes.
type Grammar[T any] interface {
	// Begin reads a part of in: all of it, or up to its first own part, and inner is its level then.
	Begin(in, inner *Level[T]) (T, error)
	// End makes the term, of which all has been read.
	End(in *Level[T]) (T, error)
}

// Terms reads terms, which may be nested as deep as memory allows.
type Terms[T any] struct {
	Text
	InKeys int // how many keys of maps the term in hand is within

	above nested.Stack[Level[T]] // what the term in hand is part of
}

// Term reads one term.
func (r *Terms[T]) Term(g Grammar[T]) (T, error) {
	var in, inner Level[T]
	for {
		inner.Kind = NoParts
		t, err := g.Begin(&in, &inner)
		if err != nil {
			return t, err
		}
		if inner.Kind != NoParts {
			if in.InKey() {
				r.InKeys++
			}
			r.above.Push(in)
			in = inner
			continue
		}
		for more := false; !more; {
			if in.Kind == NoParts {
				return t, nil
			}
			if in.Parts = append(in.Parts, t); in.Keywords%2 == 1 {
				in.Keywords++
			}
			if more, err = r.goOn(&in); err != nil {
				return t, err
			}
			if !more {
				if t, err = g.End(&in); err != nil {
					return t, err
				}
				if in, _ = r.above.Pop(); in.InKey() {
					r.InKeys--
				}
			}
		}
	}
}

// goOn reads what follows a part, up to the next one; false if there is none, and in is complete.
func (r *Terms[T]) goOn(in *Level[T]) (more bool, err error) {
	switch {
	case in.Kind == List:
		return r.goOnList(in)
	case in.Kind == Tail:
		return false, r.closeList(in.N)
	case in.Kind == Map && len(in.Parts)%2 == 1:
		return true, r.Expect("=>")
	case !r.Accept(","):
		return false, r.Expect("}")
	}
	return !r.LastComma || !r.Accept("}"), nil
}

// goOnList is goOn for a list. A tail that is a list again is read into the same parts.
func (r *Terms[T]) goOnList(in *Level[T]) (more bool, err error) {
	switch {
	case r.Accept(","):
		if !r.LastComma || !r.Accept("]") {
			return true, nil
		}
		in.N--
	case in.Keywords > 0 || !r.Accept("|"):
	case !r.Accept("["):
		in.Kind = Tail
		return true, nil
	case !r.Accept("]"):
		in.N++
		return true, nil
	}
	return false, r.closeList(in.N)
}

func (r *Terms[T]) closeList(open int) error {
	for range open {
		if err := r.Expect("]"); err != nil {
			return err
		}
	}
	return nil
}
