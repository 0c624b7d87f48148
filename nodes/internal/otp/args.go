package otp

import "github.com/cnode-go/cnode/ei"

// AreShort tells whether arguments that may be encoded are short enough to be sent back.
func AreShort(args []ei.Term) bool {
	const most = 64 << 10
	size := 0
	for _, arg := range args {
		raw, _ := arg.(ei.Raw)
		size += len(raw)
	}
	return size <= most
}

// IsEmptyList tells whether a term is [].
func IsEmptyList(t ei.Term) bool {
	list, ok := t.(ei.List)
	return ok && len(list) == 0
}

// Decode decodes the terms that are still encoded.
func Decode(terms []ei.Term) error {
	for i, t := range terms {
		if raw, ok := t.(ei.Raw); ok {
			t, err := raw.Decode()
			if err != nil {
				return err
			}
			terms[i] = t
		}
	}
	return nil
}

// AtomOf reads an atom, which may be encoded.
func AtomOf(t ei.Term) (a ei.Atom, ok bool) {
	if raw, ok := t.(ei.Raw); ok {
		c := ei.NewCursor(raw)
		a, err := c.Atom()
		return a, err == nil
	}
	a, ok = t.(ei.Atom)
	return a, ok
}

// Elements gives the elements of a list; those of an encoded one stay encoded.
func Elements(t ei.Term) ([]ei.Term, bool) {
	raw, ok := t.(ei.Raw)
	if !ok {
		return ei.Elements(t)
	}
	c := ei.NewCursor(raw)
	if n, err := c.List(); err == nil && n <= MaxArity {
		if list, err := Next(&c, n); err == nil && (n == 0 || c.Nil() == nil) {
			return list, true
		}
	}
	t, err := raw.Decode() // small integers, or a list that is long, or in pieces
	if err != nil {
		return nil, false
	}
	return ei.Elements(t)
}

// ListAt is at the first element of an encoded list of so many; 0: it is empty, or no list.
func ListAt(list ei.Raw) (c ei.Cursor, size int) {
	for range 2 {
		c = ei.NewCursor(list)
		size, err := c.List()
		end := c
		for i := 0; i < size && err == nil; i++ {
			err = end.Skip()
		}
		if err == nil && (size == 0 || end.Nil() == nil) {
			return c, size
		}
		terms, _ := Elements(list) // small integers, or a list that is in pieces
		list, _ = ei.AppendTerm(nil, ei.List(terms))
	}
	return ei.Cursor{}, 0
}

// MaxArity is how many parameters a function of Erlang may have.
const MaxArity = 255

// Next reads n terms, which stay encoded; n is no more than MaxArity.
func Next(c *ei.Cursor, n int) (terms []ei.Term, err error) {
	terms = make([]ei.Term, 0, n)
	for range n {
		raw, err := c.Raw()
		if err != nil {
			return nil, err
		}
		terms = append(terms, raw)
	}
	return terms, nil
}
