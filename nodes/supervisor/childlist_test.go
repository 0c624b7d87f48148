package supervisor

import (
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
)

// A childList is a slice that finds its elements.
func TestChildList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l childList
		var want []*child
		made := 0
		some := func() *child { return rapid.SampledFrom(want).Draw(t, "child") }
		t.Repeat(map[string]func(t *rapid.T){
			"add": func(*rapid.T) {
				made++
				c := &child{Child: Child{ID: strconv.Itoa(made)}}
				l.add(c)
				want = append(want, c)
			},
			"remove": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip("there is no child")
				}
				c := some()
				l.remove(c)
				want = slices.DeleteFunc(want, func(other *child) bool { return other == c })
				require.Nil(t, l.find(c.ID))
				require.False(t, l.has(c) || c.runs())
			},
			"run": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip("there is no child")
				}
				c := some()
				was := c.pid
				made++
				l.setPid(c, ei.Pid{Node: "a@b", ID: uint32(made)})
				require.Nil(t, l.of(was))
			},
			"": func(t *rapid.T) {
				require.Equal(t, append([]*child{}, want...), append([]*child{}, l.all()...))
				require.LessOrEqual(t, len(l.order), 2*len(want)+1)
				for i, c := range want {
					require.Same(t, c, l.find(c.ID))
					require.Equal(t, want[i:], l.from(c))
					if c.runs() {
						require.Same(t, c, l.of(c.pid))
					}
				}
			},
		})
	})
}
