package elixir

import (
	"fmt"
	"iter"
	"math"

	"github.com/cnode-go/cnode/ei"
)

// A Range is first..last//step, %Range{}: the integers from First on, Step after Step, that are not
// beyond Last. A Step of 0 is written as 1, or as -1 if Last is less than First, which is what
// Elixir up to 1.11 meant by a range without a step.
type Range struct{ First, Last, Step int64 }

func (r Range) step() int64 {
	switch {
	case r.Step != 0:
		return r.Step
	case r.Last < r.First:
		return -1
	}
	return 1
}

// Len counts the integers in the range, up to math.MaxUint64.
func (r Range) Len() uint64 {
	step := r.step()
	// in uint64 a difference and a negation of int64 are right, whatever the signs
	distance, by := uint64(r.Last)-uint64(r.First), uint64(step)
	if step < 0 {
		distance, by = -distance, -by
	}
	switch n := distance / by; {
	case step > 0 && r.Last < r.First || step < 0 && r.Last > r.First:
		return 0
	case n == math.MaxUint64:
		return n
	default:
		return n + 1
	}
}

// Contains reports whether x is one of the integers in the range.
func (r Range) Contains(x int64) bool {
	step := r.step()
	if step > 0 {
		return r.First <= x && x <= r.Last && (uint64(x)-uint64(r.First))%uint64(step) == 0
	}
	return r.Last <= x && x <= r.First && (uint64(r.First)-uint64(x))%-uint64(step) == 0
}

// All gives the integers in the range, the first one first. A peer's range may have 2^64: see Len.
func (r Range) All() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		step, n := r.step(), r.Len()
		for x := r.First; n > 0; n-- {
			if !yield(x) {
				return
			}
			x += step // which may overflow after the last one
		}
	}
}

// String gives the range as Elixir writes it: 1..3, 10..1//-3, 1..0//1.
func (r Range) String() string {
	if step := r.step(); step != 1 || r.Last < r.First {
		return fmt.Sprintf("%d..%d//%d", r.First, r.Last, step)
	}
	return fmt.Sprintf("%d..%d", r.First, r.Last)
}

type rangeWire struct {
	_           struct{} `ei:"struct=Elixir.Range"`
	First, Last *int64
	Step        int64
}

// AppendTerm appends the range as a %Range{}.
func (r Range) AppendTerm(b []byte) ([]byte, error) {
	return ei.Append(b, rangeWire{First: &r.First, Last: &r.Last, Step: r.step()})
}

// ReadTerm reads a %Range{}.
func (r *Range) ReadTerm(c *ei.Cursor) error {
	var w rangeWire
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	if w.First == nil || w.Last == nil {
		return &ValueError{Struct: "Range", Field: "first or last", Reason: "the key is missing"}
	}
	*r = Range{*w.First, *w.Last, w.Step}
	r.Step = r.step()
	return nil
}
