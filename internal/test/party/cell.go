//go:build unix

package party

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Cell is one case of a matrix: a signal hits one of two sides, of which the first has something
// and hands it over to the second.
type Cell[P ~string] struct {
	Victim int // the side that is hit
	At     P   // the point at which it is hit
	Signal syscall.Signal
	Moved  bool // at that point the second side has it
}

// Cells gives the whole matrix: SIGKILL and SIGSTOP, at each point of each side. owns has, for each
// side, its first point at which the second side has everything.
func Cells[P ~string](points [2][]P, owns [2]P) (list []Cell[P]) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for side := range points {
			from := slices.Index(points[side], owns[side])
			for i, at := range points[side] {
				list = append(list, Cell[P]{side, at, sig, i >= from})
			}
		}
	}
	return list
}

// Alternate thins a matrix out where tests are to be short: each point is hit by one signal, in
// turn, and those of owns by both. odd takes the other half.
func Alternate[P ~string](cells []Cell[P], owns [2]P, odd bool) (list []Cell[P]) {
	seen := map[P]int{}
	for _, c := range cells {
		at, ok := seen[c.At]
		if !ok {
			at = len(seen)
			seen[c.At] = at
		}
		if c.At == owns[c.Victim] || (at%2 == 0) == ((c.Signal == syscall.SIGKILL) != odd) {
			list = append(list, c)
		}
	}
	return list
}

// String names the cell.
func (c Cell[P]) String() string { return fmt.Sprintf("%v/%s", c.Signal, c.At) }

// Owner is the side that has everything in the end; -1: it was killed.
func (c Cell[P]) Owner() int {
	owner := 0
	if c.Moved {
		owner = 1
	}
	if owner == c.Victim && c.Signal == syscall.SIGKILL {
		return -1
	}
	return owner
}

// Begin waits until both sides are ready, and lets them begin.
func Begin(t testing.TB, sides [2]*Party) {
	t.Helper()
	for _, p := range sides {
		var ready bool
		p.Hear(t, &ready)
	}
	for _, p := range sides {
		p.Say(t, true)
	}
}

// Play plays the cell, once the sides have begun, and checks what they report. serves is told which
// of them must serve everything now, nil if neither, and why. A side that was stopped goes on when
// the other side has reported its outcome.
func (c Cell[P]) Play(t testing.TB, sides [2]*Party, serves func(owner *Party, why string)) {
	t.Helper()
	victim, other := sides[c.Victim], sides[1-c.Victim]
	var owner *Party
	if i := c.Owner(); i >= 0 {
		owner = sides[i]
	}
	if c.Signal == syscall.SIGKILL {
		victim.Killed(t)
		r := other.Report(t)
		require.Equal(t, owner == other, r.Owner, r.Err)
		serves(owner, r.Err)
		return
	}
	victim.Halted(t)
	first := other.Report(t)
	require.Equal(t, owner == other, first.Owner, first.Err)
	if first.Owner {
		serves(owner, first.Err)
	}
	victim.GoOn(t)
	second := victim.Report(t)
	require.Equal(t, owner == victim, second.Owner, "%s; %s", first.Err, second.Err)
	for range 3 {
		serves(owner, second.Err)
	}
}
