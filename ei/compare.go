package ei

import (
	"bytes"
	"cmp"
	"strings"
)

// Compare gives the order of two terms in Erlang, -1, 0 or 1, as < and == have it: 1 and 1.0 are equal, a String equals the
// List of its bytes, a map does not depend on the order of its pairs.
//
//	number < atom < reference < fun < port < pid < tuple < native record < map < [] < list < bitstring
//
// Funs are compared field by field: two that differ only in OldUniq, or in what else tells versions of a module apart, are equal to some
// releases of OTP, and not here. A Raw counts as the term it holds. A Raw that cannot be decoded, a Local, and nil come after everything
// else. See the Erlang reference manual, "Term Comparisons".
func Compare(a, b Term) int { return comparer{}.compare(a, b) }

// Identical reports whether two terms are the same to Erlang, by =:= as in OTP 27 and later: 1 and 1.0 are not, nor are 0.0 and -0.0.
func Identical(a, b Term) bool {
	switch a := a.(type) { // the usual keys of maps
	case Atom:
		if b, ok := b.(Atom); ok {
			return a == b
		}
	case Int:
		if b, ok := b.(Int); ok {
			return a == b
		}
	}
	return comparer{exact: true}.compare(a, b) == 0
}

// A comparer compares terms.
type comparer struct {
	exact  bool // as in the order of the keys in a map: an integer is before all floats, -0.0 before 0.0
	sorted bool // both terms come from a mapSorter
}

// rank gives the place of a term's type in the order of types.
func rank(t Term) int {
	switch t := t.(type) {
	case Int, BigInt, Float:
		return 0
	case Atom:
		return 1
	case Ref:
		return 2
	case Fun, Export:
		return 3
	case Port:
		return 4
	case Pid:
		return 5
	case Tuple:
		return 6
	case Record:
		return 7
	case Map:
		return 8
	case List:
		if len(t) > 0 {
			return 10
		}
		return 9
	case String:
		if len(t) > 0 {
			return 10
		}
		return 9
	case ImproperList:
		if len(t.Elems) == 0 {
			return rank(t.Tail)
		}
		return 10
	case Binary, Bitstring:
		return 11
	case Raw:
		return 12
	case Local:
		return 13
	}
	return 14
}

// plain takes away what may be around a term: the encoding of a Raw, an ImproperList without elements.
func plain(t Term) Term {
	for {
		switch v := t.(type) {
		case Raw:
			d, err := v.Decode()
			if err != nil {
				return t
			}
			t = d
		case ImproperList:
			if len(v.Elems) > 0 {
				return t
			}
			t = v.Tail
		default:
			return t
		}
	}
}

func (c comparer) compare(a, b Term) int {
	a, b = plain(a), plain(b)
	if ra, rb := rank(a), rank(b); ra != rb {
		return cmp.Compare(ra, rb)
	}
	switch a := a.(type) {
	case Int, BigInt, Float:
		return c.numbers(a, b)
	case Atom:
		return strings.Compare(string(a), string(b.(Atom)))
	case Ref:
		return CompareRefs(a, b.(Ref))
	case Fun, Export:
		return c.funs(a, b)
	case Port:
		return ComparePorts(a, b.(Port))
	case Pid:
		return ComparePids(a, b.(Pid))
	case Tuple:
		b := b.(Tuple)
		if len(a) != len(b) {
			return cmp.Compare(len(a), len(b))
		}
		return c.terms(a, b)
	case Record:
		return c.records(a, b.(Record))
	case Map:
		return c.maps(a, b.(Map))
	case List, String, ImproperList:
		return c.lists(a, b)
	case Binary, Bitstring:
		return compareBits(a, b)
	case Raw:
		return bytes.Compare(a, b.(Raw))
	case Local:
		return bytes.Compare(a, b.(Local))
	}
	return 0
}

func (c comparer) terms(a, b []Term) int {
	for i := range min(len(a), len(b)) {
		if d := c.compare(a[i], b[i]); d != 0 {
			return d
		}
	}
	return cmp.Compare(len(a), len(b))
}

// funs orders closures before external funs.
func (c comparer) funs(a, b Term) int {
	fa, closureA := a.(Fun)
	fb, closureB := b.(Fun)
	switch {
	case closureA && closureB:
		return cmp.Or(strings.Compare(string(fa.Module), string(fb.Module)), cmp.Compare(fa.OldIndex, fb.OldIndex),
			cmp.Compare(fa.OldUniq, fb.OldUniq), cmp.Compare(fa.Index, fb.Index), bytes.Compare(fa.Uniq[:], fb.Uniq[:]),
			cmp.Compare(fa.Arity, fb.Arity), cmp.Compare(len(fa.Free), len(fb.Free)), c.terms(fa.Free, fb.Free))
	case closureA:
		return -1
	case closureB:
		return 1
	}
	ea, eb := a.(Export), b.(Export)
	return cmp.Or(strings.Compare(string(ea.Module), string(eb.Module)), strings.Compare(string(ea.Function), string(eb.Function)),
		cmp.Compare(ea.Arity, eb.Arity))
}

// records goes by name, visibility, number of fields, their names and then their values, both in the order of the definition, as OTP 29.1
// has it.
func (c comparer) records(a, b Record) int {
	if d := cmp.Or(strings.Compare(string(a.Module), string(b.Module)), strings.Compare(string(a.Name), string(b.Name)),
		cmp.Compare(a.Flags&RecordExported, b.Flags&RecordExported), cmp.Compare(len(a.Fields), len(b.Fields))); d != 0 {
		return d
	}
	for i := range a.Fields {
		if d := strings.Compare(string(a.Fields[i].Name), string(b.Fields[i].Name)); d != 0 {
			return d
		}
	}
	for i := range a.Fields {
		if d := c.compare(a.Fields[i].Value, b.Fields[i].Value); d != 0 {
			return d
		}
	}
	return 0
}

// maps goes by size, keys in their exact order, values in the order of the keys.
func (c comparer) maps(a, b Map) int {
	if len(a) != len(b) {
		return cmp.Compare(len(a), len(b))
	}
	if !c.sorted {
		ta, _ := new(mapSorter).term(a)
		tb, _ := new(mapSorter).term(b)
		a, b, c.sorted = ta.(Map), tb.(Map), true
	}
	keys := comparer{exact: true, sorted: true}
	for i := range a {
		if d := keys.compare(a[i].Key, b[i].Key); d != 0 {
			return d
		}
	}
	for i := range a {
		if d := c.compare(a[i].Value, b[i].Value); d != 0 {
			return d
		}
	}
	return 0
}

// A cells is a list that is being walked: its elements, in one of two forms, then its tail, nil for [].
type cells struct {
	elems []Term
	bytes string
	tail  Term
}

func cellsOf(t Term) cells {
	switch t := t.(type) {
	case List:
		return cells{elems: t}
	case String:
		return cells{bytes: string(t)}
	case ImproperList:
		return cells{elems: t.Elems, tail: t.Tail}
	}
	return cells{tail: t}
}

// next takes off the first element.
func (l *cells) next() Term {
	if len(l.elems) > 0 {
		t := l.elems[0]
		l.elems = l.elems[1:]
		return t
	}
	t := Int(l.bytes[0])
	l.bytes = l.bytes[1:]
	return t
}

// settle goes on into a tail that is a list itself, and reports whether there is an element.
func (l *cells) settle() bool {
	for len(l.elems) == 0 && l.bytes == "" && l.tail != nil {
		tail := plain(l.tail)
		switch tail.(type) {
		case List, String, ImproperList:
			*l = cellsOf(tail)
		default:
			l.tail = tail
			return false
		}
	}
	return len(l.elems) > 0 || l.bytes != ""
}

func (c comparer) lists(a, b Term) int {
	la, lb := cellsOf(a), cellsOf(b)
	for {
		moreA, moreB := la.settle(), lb.settle()
		if !moreA || !moreB {
			ra, rb := 10, 10
			if !moreA {
				ra = 9
				if la.tail != nil {
					ra = rank(la.tail)
				}
			}
			if !moreB {
				rb = 9
				if lb.tail != nil {
					rb = rank(lb.tail)
				}
			}
			if ra != rb || ra == 9 {
				return cmp.Compare(ra, rb)
			}
			return c.compare(la.tail, lb.tail)
		}
		if d := c.compare(la.next(), lb.next()); d != 0 {
			return d
		}
	}
}

// compareBits goes by the bits that both have, then by length.
func compareBits(a, b Term) int {
	da, na := bitsOf(a)
	db, nb := bitsOf(b)
	common := min(na, nb)
	whole := common / 8
	if c := bytes.Compare(da[:whole], db[:whole]); c != 0 {
		return c
	}
	if rest := common % 8; rest > 0 {
		shift := 8 - rest
		if c := cmp.Compare(da[whole]>>shift, db[whole]>>shift); c != 0 {
			return c
		}
	}
	return cmp.Compare(na, nb)
}

// bitsOf gives the bytes and the number of bits of a Binary or Bitstring.
func bitsOf(t Term) ([]byte, int) {
	if t, ok := t.(Bitstring); ok {
		t.Bits = min(t.Bits, 8)
		return t.Data, max(t.BitLen(), 0)
	}
	t2 := t.(Binary)
	return t2, 8 * len(t2)
}
