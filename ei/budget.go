package ei

import (
	"fmt"
	"math"
	"math/bits"
	"reflect"
)

// What Unmarshal may take of memory where Limits.Memory does not say: so many times the length of
// the term, and for a short one leastMemory bytes.
const (
	usualMemory = 10
	leastMemory = 16 << 20
)

// grantStep is how many bytes of memory a function given to Shared is asked for at least.
const grantStep = 1 << 10

// A budget is the memory that values may take which are read one after the other, or one within the
// other. What was taken does not come back, not even that of slices that had to grow.
type budget struct {
	left  int // bytes that may be taken without more ado
	rest  int // what there is besides, for which grant is asked first
	max   int // in all
	isSet bool
	grant func(bytes int) error // nil: nobody is asked
}

// A sharing is what several terms are decoded with, one after the other or one within the other.
type sharing struct {
	DecodeOptions
	memory budget
}

// newBudget is the budget for terms of n bytes.
func (o *DecodeOptions) newBudget(n int) budget {
	m := budget{max: o.Limits.Memory, isSet: o.Limits.Memory != 0}
	switch {
	case m.max < 0:
		m.max = math.MaxInt
	case m.max == 0:
		m.max = max(leastMemory, product(n, usualMemory))
	}
	m.left = m.max
	return m
}

// Shared gives options for several terms, of so many bytes in all: the Go values that they become
// take memory together, from what Limits allow for all of them. grant, if it is not nil, is asked
// for that memory before it is taken, step by step, and its error refuses what is being read: an
// *UnmarshalError that wraps it. What has been granted does not come back. The options that Shared
// gives are for one goroutine, and for these terms.
func (o *DecodeOptions) Shared(size int, grant func(bytes int) error) *DecodeOptions {
	s := &sharing{DecodeOptions: o.orDefault()}
	m := &s.memory
	*m = s.newBudget(size)
	if m.grant = grant; grant != nil {
		m.left, m.rest = 0, m.max
	}
	s.budget = m
	return &s.DecodeOptions
}

// take takes n bytes.
func (m *budget) take(n int) error {
	if n <= m.left {
		m.left -= n
		return nil
	}
	return m.takeMore(n)
}

func (m *budget) takeMore(n int) error {
	more := n - m.left
	if more > m.rest {
		return &LimitError{Limit: "Memory", Max: m.max}
	}
	step := min(max(more, grantStep, (m.max-m.rest)/8), m.rest)
	if err := m.grant(step); err != nil {
		return err
	}
	m.rest -= step
	m.left += step - n
	return nil
}

// takeTree takes n bytes for a tree of terms: see Limits.
func (m *budget) takeTree(n int) error {
	switch {
	case m.isSet:
		return m.take(n)
	case m.grant != nil:
		return m.grant(n)
	}
	return nil
}

// product is a × b, or the largest int.
func product(a, b int) int {
	if hi, lo := bits.Mul(uint(a), uint(b)); hi == 0 && lo <= math.MaxInt {
		return int(lo)
	}
	return math.MaxInt
}

// allocated is what n bytes take in Go's memory, which has pieces of certain sizes.
func allocated(n int) int {
	if n < 32<<10 {
		return (n + 7 + n/8) &^ 7
	}
	return n
}

// Sizes that a Go map has, in bytes and slots.
const (
	mapHead       = 48
	mapGroup      = 8
	mapMostInline = 128  // a larger value is in memory of its own
	mapTable      = 1024 // a larger map has several tables, each of which grows by itself
)

// pairSize is how many bytes each pair of a map takes in it, and outside of it.
func pairSize(t reflect.Type) (in, apart int) {
	for _, part := range []reflect.Type{t.Key(), t.Elem()} {
		if n := int(part.Size()); n <= mapMostInline {
			in += n
		} else {
			in, apart = in+8, apart+allocated(n)
		}
	}
	return (in+7)&^7 + 1, apart
}

// mapSize is what a map takes that has room for n pairs.
func (p *plan) mapSize(n int) int {
	if n == 0 {
		return mapHead
	}
	slots := mapGroup
	if n > mapGroup {
		slots = 1 << bits.Len(uint(n+n/7))
	}
	if n > mapTable*3/4 && n > slots/5*4 { // a table that is full sooner than others grows
		slots *= 2
	}
	return mapHead + allocated(product(slots, p.slot)) + slots*p.slot/16 + slots/8
}

// memory is what the tree of a term takes that the scanner has walked through, which has so many
// bytes.
func (s *scanner) memory(bytes int) int {
	const cell, head, number, other = 16, 24, 8, 64
	return cell*s.parts + head*s.headers + number*s.numbers + other*s.others + bytes + bytes/8
}

// takeFor takes memory for a part that begins at off, and is refused as that.
func (u *unmarshaler) takeFor(off, n int) error {
	if err := u.memory.take(n); err != nil {
		u.c.off = off
		return u.wrong(err, "")
	}
	return nil
}

// tooMany says that the memory for n parts is refused.
func (u *unmarshaler) tooMany(err error, kind string, n, size int) error {
	return &UnmarshalError{Offset: u.c.off, Err: err, Got: fmt.Sprintf("%s of %d, each of %d bytes in Go", kind, n, size)}
}

// budget is that of the Unmarshaler that reads; nil: there is none.
func (c *Cursor) budget() *budget {
	if c.options == nil {
		return nil
	}
	return c.options.budget
}
