package lazymap

import (
	"maps"
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
