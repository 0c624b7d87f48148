package bonds

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
)

// The table behaves as one map for each node does, and keeps no node without an entry.
func TestByNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table byNode[int, string]
		model := map[ei.Atom]map[int]string{}
		nodes := []ei.Atom{"a@h", "b@h", "c@h"}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				node, value := rapid.SampledFrom(nodes).Draw(t, "node"), rapid.String().Draw(t, "value")
				// a key belongs to one node
				key := 10*rapid.IntRange(0, fewBonds+1).Draw(t, "key") + int(node[0]-'a')
				table.put(node, key, value)
				of := model[node]
				lazymap.Put(&of, key, value)
				model[node] = of
			},
			"remove": func(t *rapid.T) {
				node := rapid.SampledFrom(nodes).Draw(t, "node")
				key := 10*rapid.IntRange(0, fewBonds+1).Draw(t, "key") + int(node[0]-'a')
				table.remove(node, key)
				if delete(model[node], key); len(model[node]) == 0 {
					delete(model, node)
				}
			},
			"remove some": func(t *rapid.T) { // while all are gone through
				node, odd := rapid.SampledFrom(nodes).Draw(t, "node"), rapid.IntRange(0, 1).Draw(t, "odd")
				for key := range table.all(node) {
					if key/10%2 == odd {
						table.remove(node, key)
						delete(model[node], key)
					}
				}
				if len(model[node]) == 0 {
					delete(model, node)
				}
			},
			"": func(t *rapid.T) {
				all := map[int]string{}
				for _, node := range nodes {
					of := maps.Collect(maps.All(model[node]))
					require.Equal(t, of, maps.Collect(table.all(node)))
					for key := range 10 * (fewBonds + 2) {
						want, has := of[key]
						got, ok := table.get(node, key)
						require.Equal(t, has, ok)
						require.Equal(t, want, got)
					}
					maps.Copy(all, of)
				}
				require.Equal(t, all, maps.Collect(table.all("")))
				require.Equal(t, len(all) == 0, table.empty())
				for key := range 10 * (fewBonds + 2) {
					want, has := all[key]
					got, ok := table.find(key)
					require.Equal(t, has, ok)
					require.Equal(t, want, got)
				}
				require.LessOrEqual(t, table.more.Len(), len(model))
			},
		})
	})
}
