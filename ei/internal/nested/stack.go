// Package nested has what walks over terms without the goroutine's stack: they may be nested as
// deep as memory allows, deeper than that could follow. Nothing here knows what a term is. Package
// ei and its sub-packages call it; nothing blocks.
package nested

import "math/bits"

// A Stack keeps what a walk over a term has still to come back to. It has room for a few values in
// itself. Beyond these it grows in blocks, none of which is ever copied: what it takes is
// proportional to its height. Blocks are used again; so what was popped is kept until it is
// overwritten.
type Stack[T any] struct {
	n     int // of few that are in use
	few   [fewLevels]T
	top   []T   // the part of the highest block that is filled; not empty if any block is in use
	below [][]T // the blocks below it, full
	spare [][]T // blocks that were in use before
}

// Sizes of the blocks of a Stack.
const (
	fewLevels  = 4
	manyLevels = 512
)

// Push puts a value on top.
func (s *Stack[T]) Push(v T) {
	if s.n < fewLevels {
		s.few[s.n] = v
		s.n++
		return
	}
	s.pushTop(v)
}

func (s *Stack[T]) pushTop(v T) {
	if len(s.top) == cap(s.top) {
		if len(s.top) > 0 {
			s.below = append(s.below, s.top)
		}
		if n := len(s.spare); n > 0 {
			s.top, s.spare = s.spare[n-1], s.spare[:n-1]
		} else {
			s.top = make([]T, 0, min(2*max(cap(s.top), fewLevels), manyLevels))
		}
	}
	s.top = append(s.top, v)
}

// Pop takes the last value off; false if there is none.
func (s *Stack[T]) Pop() (v T, ok bool) {
	switch {
	case len(s.top) > 0:
		return s.popTop(), true
	case s.n > 0:
		s.n--
		return s.few[s.n], true
	}
	return v, false
}

func (s *Stack[T]) popTop() T {
	last := len(s.top) - 1
	v := s.top[last]
	s.top = s.top[:last]
	if n := len(s.below); last == 0 && n > 0 {
		s.spare = append(s.spare, s.top)
		s.top, s.below = s.below[n-1], s.below[:n-1]
	}
	return v
}

// Last gives the last value, which must be there.
func (s *Stack[T]) Last() *T {
	if n := len(s.top); n > 0 {
		return &s.top[n-1]
	}
	return &s.few[s.n-1]
}

// Empty reports whether there is no value.
func (s *Stack[T]) Empty() bool { return s.n == 0 }

// IsHigh reports whether there are more values than a Stack has room for in itself.
func (s *Stack[T]) IsHigh() bool { return len(s.top) > 0 }

// Reset takes all values off.
func (s *Stack[T]) Reset() {
	for len(s.top) > 0 {
		s.top = s.top[:1]
		s.popTop()
	}
	s.n = 0
}

// IsRepeated reports whether v, which is about to be pushed, is the same as one of the values
// below: the first of a block that changes with the height. So what contains itself is found after
// a few rounds, without a search among all levels (Brent's algorithm).
func (s *Stack[T]) IsRepeated(v *T, same func(a, b *T) bool) bool {
	n := len(s.below)
	return n > 0 && same(&s.below[1<<(bits.Len(uint(n))-1)-1][0], v)
}
