package states

import (
	"slices"

	"github.com/cnode-go/cnode/ei"
)

const (
	// atOnce is how many values are made at once.
	atOnce = 16
	// copiesAtOnce is how much room is made at once for terms; one of more than a quarter has its
	// own.
	copiesAtOnce = 4 << 10
)

// Several makes values several at a time: what a state describes may be a million. Those that were
// made at once are freed when none of them is in use any more. The zero value is ready.
type Several[T any] struct{ made []T }

// Next is another value; no more than needed are made at once.
func (s *Several[T]) Next(needed int) *T {
	if len(s.made) == 0 {
		s.made = make([]T, min(atOnce, max(needed, 1)))
	}
	x := &s.made[0]
	s.made = s.made[1:]
	return x
}

// Copies copies terms that are parts of a state, in the same way. The zero value is ready.
type Copies struct{ room []byte }

// Copy copies a term; nil if it is empty.
func (c *Copies) Copy(raw ei.Raw) ei.Raw {
	size := len(raw)
	switch {
	case size == 0:
		return nil
	case size > copiesAtOnce/4:
		return slices.Clip(slices.Clone(raw))
	case size > len(c.room):
		c.room = make([]byte, copiesAtOnce)
	}
	own := c.room[:size:size]
	c.room = c.room[size:]
	copy(own, raw)
	return own
}
