package ei

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// Compare gives the order of two terms in Erlang, -1, 0 or 1, as < and == have it: 1 and 1.0 are
// equal, a String equals the List of its bytes, a map does not depend on the order of its pairs.
//
//	number < atom < reference < fun < port < pid < tuple < native record < map < [] < list < bitstring
//
// Funs are compared field by field: two that differ only in OldUniq, or in what else tells versions
// of a module apart, are equal to some releases of OTP, and not here. A Raw counts as the term it
// holds. A Raw that cannot be decoded, a Local, and nil come after everything else. See the Erlang
// reference manual, "Term Comparisons".
func Compare(a, b Term) int {
	var c comparer
	return c.compare(a, b)
}

// Identical reports whether two terms are the same to Erlang, by =:= as in OTP 27 and later: 1 and
// 1.0 are not, nor are 0.0 and -0.0.
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
	c := comparer{exact: true}
	return c.compare(a, b) == 0
}

// A comparer compares terms.
type comparer struct {
	exact bool // as in the order of keys in a map: an integer before all floats, -0.0 before 0.0
	loose bool // what some runtime system does not look at in a key makes no difference (clash)

	maps  *mapSorter // if not nil, it has seen both terms
	above nested.Stack[pair]
}

// A pair are two terms of the same type and size whose parts are being compared, in order.
type pair struct {
	a, b   Term
	i, j   int  // the next part of each
	exact  bool // see comparer
	sorted bool // the comparer's mapSorter has seen both
}

// rank gives the place of the type of a term that is plain in the order of types.
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

// plain takes away what may be around a term: the encoding of a Raw, an ImproperList without
// elements, what makes a binary comparable.
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
		case BinaryKey:
			return Binary(v)
		default:
			return t
		}
	}
}

// Elements gives the elements of a proper list in either of its forms, List and String, between
// which a runtime system chooses by the contents; false if t is no such list. A Raw is decoded for
// it.
func Elements(t Term) (List, bool) {
	switch t := plain(t).(type) {
	case List:
		return t, true
	case String:
		return t.List(), true
	}
	return nil, false
}

// Get gives the value of key; of several equal keys the first counts. It compares as =:= does, one
// pair after the other. A missing key gives nil, false.
func (t Map) Get(key Term) (Term, bool) {
	for i := range t {
		if Identical(t[i].Key, key) {
			return t[i].Value, true
		}
	}
	return nil, false
}

func (c *comparer) compare(a, b Term) int {
	in := pair{a: a, b: b, exact: c.exact, sorted: c.maps != nil}
	d, deeper := c.heads(&in)
	if !deeper {
		return d
	}
	for {
		var next pair
		var ok bool
		next, d, ok = c.next(&in)
		if d != 0 {
			break
		}
		if ok {
			if d, deeper = c.heads(&next); d != 0 {
				break
			}
			if deeper {
				c.above.Push(in)
				in = next
			}
			continue
		}
		if in, ok = c.above.Pop(); !ok {
			return 0
		}
	}
	c.above.Reset()
	return d
}

// plain takes away what may be around a term.
func (c *comparer) plain(t Term) Term {
	if raw, ok := t.(Raw); ok && c.maps != nil && len(raw) > 0 {
		if t, ok := c.maps.raws[&raw[0]]; ok {
			return t
		}
	}
	return plain(t)
}

// heads compares two terms without their parts. If it finds no difference, and there are parts,
// these must be compared, too.
func (c *comparer) heads(p *pair) (d int, deeper bool) {
	p.a, p.b = c.plain(p.a), c.plain(p.b)
	if ra, rb := rank(p.a), rank(p.b); ra != rb {
		return cmp.Compare(ra, rb), false
	}
	switch a := p.a.(type) {
	case Int, BigInt, Float:
		return compareNumbers(a, p.b, p.exact, c.loose), false
	case Atom:
		return strings.Compare(string(a), string(p.b.(Atom))), false
	case Ref:
		return c.refs(a, p.b.(Ref)), false
	case Fun, Export:
		return c.funs(a, p.b)
	case Port:
		return a.Compare(p.b.(Port)), false
	case Pid:
		return a.Compare(p.b.(Pid)), false
	case Tuple:
		d = cmp.Compare(len(a), len(p.b.(Tuple)))
		return d, d == 0
	case Record:
		d = compareDefinitions(a, p.b.(Record))
		return d, d == 0
	case Map:
		b := p.b.(Map)
		if d = cmp.Compare(len(a), len(b)); d != 0 {
			return d, false
		}
		if !p.sorted {
			if c.maps == nil {
				c.maps = newMapSorter(c.loose)
			}
			c.maps.add(a)
			c.maps.add(b)
			p.sorted = true
		}
		p.a, p.b = c.maps.sorted(a), c.maps.sorted(b)
		return 0, true
	case List, String, ImproperList:
		return 0, true
	case Binary, Bitstring:
		return compareBits(a, p.b), false
	case Raw:
		return bytes.Compare(a, p.b.(Raw)), false
	case Local:
		return bytes.Compare(a, p.b.(Local)), false
	}
	return 0, false
}

// next gives the next parts; if these cannot be compared, because a list ends, the order that
// follows from that.
func (c *comparer) next(p *pair) (parts pair, d int, ok bool) {
	parts.exact, parts.sorted = p.exact, p.sorted
	i := p.i
	switch a := p.a.(type) {
	case Tuple:
		if i < len(a) {
			parts.a, parts.b = a[i], p.b.(Tuple)[i]
			ok = true
		}
	case Fun:
		if i < len(a.Free) {
			parts.a, parts.b = a.Free[i], p.b.(Fun).Free[i]
			ok = true
		}
	case Record:
		if i < len(a.Fields) {
			parts.a, parts.b = a.Fields[i].Value, p.b.(Record).Fields[i].Value
			ok = true
		}
	case Map: // all keys, then all values
		if i < len(a) {
			parts.a, parts.b = a[i].Key, p.b.(Map)[i].Key
			parts.exact, ok = true, true
		} else if i -= len(a); i < len(a) {
			parts.a, parts.b = a[i].Value, p.b.(Map)[i].Value
			ok = true
		}
	default:
		return c.nextOfList(p)
	}
	p.i++
	return parts, 0, ok
}

// funs orders closures before external funs.
func (c *comparer) funs(a, b Term) (d int, deeper bool) {
	fa, closureA := a.(Fun)
	fb, closureB := b.(Fun)
	switch {
	case closureA && closureB:
		d = strings.Compare(string(fa.Module), string(fb.Module))
		if !c.loose {
			d = cmp.Or(d, cmp.Compare(fa.OldIndex, fb.OldIndex), cmp.Compare(fa.OldUniq, fb.OldUniq))
		}
		d = cmp.Or(d, cmp.Compare(fa.Index, fb.Index))
		if !c.loose {
			d = cmp.Or(d, bytes.Compare(fa.Uniq[:], fb.Uniq[:]), cmp.Compare(fa.Arity, fb.Arity))
		}
		d = cmp.Or(d, cmp.Compare(len(fa.Free), len(fb.Free)))
		return d, d == 0
	case closureA:
		return -1, false
	case closureB:
		return 1, false
	}
	ea, eb := a.(Export), b.(Export)
	return cmp.Or(strings.Compare(string(ea.Module), string(eb.Module)), strings.Compare(string(ea.Function), string(eb.Function)),
		cmp.Compare(ea.Arity, eb.Arity)), false
}

func (c *comparer) refs(a, b Ref) int {
	if c.loose {
		a.Len, b.Len = min(a.Len, maxLooseRef), min(b.Len, maxLooseRef)
	}
	return a.Compare(b)
}

// compareDefinitions goes by name, visibility, number of fields and their names; the values come
// next. Both are in the order of the definition, as OTP 29.1 has it.
func compareDefinitions(a, b Record) int {
	if d := cmp.Or(strings.Compare(string(a.Module), string(b.Module)), strings.Compare(string(a.Name), string(b.Name)),
		cmp.Compare(a.flags(), b.flags()), cmp.Compare(len(a.Fields), len(b.Fields))); d != 0 {
		return d
	}
	for i := range a.Fields {
		if d := strings.Compare(string(a.Fields[i].Name), string(b.Fields[i].Name)); d != 0 {
			return d
		}
	}
	return 0
}

// nextOfList gives the next elements of two lists, which may differ in form and length, or their
// tails.
func (c *comparer) nextOfList(p *pair) (parts pair, d int, ok bool) {
	parts.exact, parts.sorted = p.exact, p.sorted
	x, moreA := c.element(&p.a, &p.i)
	y, moreB := c.element(&p.b, &p.j)
	if moreA && moreB {
		parts.a, parts.b = x, y
		return parts, 0, true
	}
	ra, rb := 10, 10 // an element is part of a list that is not empty
	if !moreA {
		ra = rank(x)
	}
	if !moreB {
		rb = rank(y)
	}
	if ra != rb || ra == 9 {
		return parts, cmp.Compare(ra, rb), false
	}
	p.a, p.b, p.i, p.j = emptyList, emptyList, 0, 0
	parts.a, parts.b = x, y
	return parts, 0, true
}

// element gives the element *i of the list *t and moves *i on; at the end of the list, false with
// its tail. It goes on into a tail that is a list itself.
func (c *comparer) element(t *Term, i *int) (Term, bool) {
	n := *i
	*i++
	for {
		switch l := (*t).(type) {
		case List:
			if n < len(l) {
				return l[n], true
			}
			return emptyList, false
		case String:
			if n < len(l) {
				return Int(l[n]), true
			}
			return emptyList, false
		case ImproperList:
			if n < len(l.Elems) {
				return l.Elems[n], true
			}
			*t, n, *i = c.plain(l.Tail), 0, 1
		default:
			return l, false
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
