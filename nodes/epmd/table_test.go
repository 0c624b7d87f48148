package epmd

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCreationNeverBelowFour(t *testing.T) {
	var tab table
	e := tab.register(NodeInfo{Name: "a", High: 6}, 5, nil, 0)
	require.Equal(t, uint32(4), e.creation())
	e = tab.register(NodeInfo{Name: "b", High: 6}, 5, nil, 0xffffffff)
	require.Equal(t, uint32(4), e.creation(), "the counter wraps")
	tab.release(e)
	require.Equal(t, uint32(5), tab.register(NodeInfo{Name: "b", High: 6}, 5, nil, 0).creation())
}

func TestUnusedNamesAreBounded(t *testing.T) {
	var tab table
	for i := range 1001 {
		tab.release(tab.register(NodeInfo{Name: fmt.Sprint("n", i), High: 6}, 5, nil, uint32(5000+i)))
	}
	require.Len(t, tab.unused, 1001)
	e := tab.register(NodeInfo{Name: "new", High: 6}, 5, nil, 9000)
	require.Equal(t, uint32(5001), e.creation(), "it takes over the oldest name's counter")
	require.Len(t, tab.unused, 1000)
	require.Equal(t, "n1", tab.unused[0].Name)
	// n0 is forgotten, n1 is not
	require.Equal(t, uint32(9001), tab.register(NodeInfo{Name: "n0", High: 6}, 5, nil, 9000).creation())
	require.Equal(t, uint32(5003), tab.register(NodeInfo{Name: "n1", High: 6}, 5, nil, 9000).creation())
}

// The model knows a name's port, its last creation, and the order in which things happened.
func TestTableModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type life struct {
			entry    *entry
			port     uint16
			creation uint32
		}
		var (
			tab    table
			now    = uint32(100)
			active []string // oldest first
			unused []string
			lives  = map[string]*life{}
			names  = []string{"a", "b", "å", "", "a b", "c at port 1"}
			aName  = rapid.SampledFrom(names)
			forget = func(from []string, name string) []string {
				return slices.DeleteFunc(from, func(n string) bool { return n == name })
			}
			version = rapid.Uint16Range(5, 6)
		)
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				name, port := aName.Draw(t, "name"), rapid.Uint16().Draw(t, "port")
				high := version.Draw(t, "high")
				now += rapid.Uint32Range(0, 100).Draw(t, "seconds")
				e := tab.register(NodeInfo{Name: name, Port: port, High: high}, int(port), nil, now)
				if slices.Contains(active, name) {
					require.Nil(t, e)
					return
				}
				require.NotNil(t, e)
				counter := now + 1
				if l := lives[name]; l != nil {
					counter = l.creation + 1
				}
				require.Equal(t, counter, e.counter)
				if high == 6 {
					require.Equal(t, counter, e.creation())
				} else {
					require.Equal(t, counter%3+1, e.creation())
				}
				lives[name] = &life{e, port, counter}
				unused = forget(unused, name)
				active = append(active, name)
			},
			"release": func(t *rapid.T) {
				name := aName.Draw(t, "name")
				l := lives[name]
				if l == nil {
					return
				}
				require.Equal(t, slices.Contains(active, name), tab.release(l.entry))
				if slices.Contains(active, name) {
					active, unused = forget(active, name), append(unused, name)
				}
			},
			"": func(t *rapid.T) {
				for _, name := range names {
					e := tab.find(name)
					require.Equal(t, slices.Contains(active, name), e != nil)
					if e != nil {
						require.Equal(t, lives[name].port, e.Port)
					}
				}
				port, listed, err := parseNames(tab.appendNames(nil, 4369))
				require.NoError(t, err)
				require.Equal(t, 4369, port)
				var got []string
				for _, n := range slices.Backward(listed) {
					got = append(got, n.Name)
					require.Equal(t, lives[n.Name].port, n.Port)
				}
				require.Equal(t, append([]string(nil), active...), got)

				d, err := parseDump(tab.appendDump(nil, 4369))
				require.NoError(t, err)
				got = nil
				for _, e := range slices.Backward(d.Active) {
					got = append(got, e.Name)
				}
				require.Equal(t, append([]string(nil), active...), got)
				got = nil
				for _, e := range d.Unused {
					got = append(got, e.Name)
					require.Equal(t, int(lives[e.Name].port), e.FD)
				}
				require.Equal(t, append([]string(nil), unused...), got)
			},
		})
	})
}

// An unused name keeps nothing of the connection that registered it.
func TestUnusedNameLetsGoOfItsHolder(t *testing.T) {
	var tab table
	e := tab.register(NodeInfo{Name: "a"}, 5, new(session), 1000)
	require.NotNil(t, e.holder)
	require.True(t, tab.release(e))
	require.Nil(t, e.holder)
}
