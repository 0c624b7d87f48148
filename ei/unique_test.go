package ei

import (
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
)

// A peer chooses the keys of its maps: any difference between keys must make their hashes differ,
// or looking for equal keys takes for ever.
func TestHashesOfPidsDiffer(t *testing.T) {
	const n = 1000
	s := keySet{seed: maphash.MakeSeed()}
	for field, of := range map[string]func(i int) Pid{
		"node":     func(i int) Pid { return Pid{Node: Atom(rune('a' + i))} },
		"id":       func(i int) Pid { return Pid{ID: uint32(i)} },
		"serial":   func(i int) Pid { return Pid{Serial: uint32(i)} },
		"creation": func(i int) Pid { return Pid{Creation: uint32(i)} },
	} {
		t.Run(field, func(t *testing.T) {
			seen := map[uint64]bool{}
			for i := range n {
				seen[s.hash(of(i))] = true
			}
			require.Greater(t, len(seen), n-10)
		})
	}
}

// Looking for equal keys in a small map costs no more after a large map.
func TestSmallMapBehindLargeOne(t *testing.T) {
	ints := func(n int) (m Map) {
		for i := range n {
			m = append(m, Pair{Int(i), Int(i)})
		}
		return m
	}
	var s keySet
	require.False(t, s.duplicate(ints(10_000)))
	large := len(s.slots)
	require.False(t, s.duplicate(ints(fewKeys+1)))
	used := 0
	for _, slot := range s.slots[large/2:] {
		if slot != 0 {
			used++
		}
	}
	require.Greater(t, used, fewKeys+1, "the whole table was cleared")
	require.True(t, s.duplicate(append(ints(fewKeys+1), Pair{Int(3), nil})))
	require.True(t, s.duplicate(append(ints(10_000), Pair{Int(3), nil})))
}

// The keys of one large map do not count as those of the next one.
func TestLargeMapBehindLargeOne(t *testing.T) {
	keys := func(n int, key func(i int) Term) (m Map) {
		for i := range n {
			m = append(m, Pair{key(i), nil})
		}
		return m
	}
	var s keySet
	require.False(t, s.duplicate(keys(10_000, func(i int) Term { return Int(i) })))
	for _, n := range []int{10_000, 9_000, 300} {
		require.False(t, s.duplicate(keys(n, func(i int) Term { return Float(i) })))
	}
}

// Equal keys are found in whichever form they are.
func TestZeroInBothForms(t *testing.T) {
	for _, n := range []int{1, fewKeys, 1000} {
		m := Map{{BigInt{}, nil}}
		for i := range n {
			m = append(m, Pair{Int(i), nil})
		}
		require.True(t, new(keySet).duplicate(m), n)
		require.False(t, new(keySet).duplicate(append(m[:1:1], m[2:]...)), n)
	}
}
