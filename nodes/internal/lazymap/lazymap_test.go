package lazymap

import (
	"maps"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A Map holds what a map of Go would, whenever it gives memory back, and what is yielded may be
// deleted meanwhile.
func TestMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map[int, int]
		model := map[int]int{}
		for round := range 3 {
			for key := range rapid.IntRange(0, 500).Draw(t, "put") {
				m.Put(key, round)
				model[key] = round
			}
			nth := rapid.IntRange(1, 50).Draw(t, "one of how many stays")
			for key := range m.All() {
				if key%nth > 0 {
					m.Delete(key)
					delete(model, key)
				}
			}
			require.Equal(t, model, maps.Collect(m.All()))
			require.Equal(t, len(model), m.Len())
			for key, want := range model {
				got, ok := m.Get(key)
				require.True(t, ok && got == want)
			}
			_, ok := m.Get(-1)
			require.False(t, ok)
		}
	})
	var none *Map[int, int]
	_, ok := none.Get(1)
	require.False(t, ok)
}

// Few that stay do not keep the memory of many that have gone.
func TestMapMemory(t *testing.T) {
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var m Map[int, [64]byte]
	before := used()
	const many = 100_000
	for i := range many {
		m.Put(i, [64]byte{})
	}
	full := used()
	require.Greater(t, full-before, uint64(many*64))
	for i := range many - 10 {
		m.Delete(i)
	}
	require.Less(t, used(), before+(full-before)/100)
	require.Equal(t, 10, m.Len())
}
