package pg

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A model says the same as a table, in lists.
type model map[int]map[string][]ei.Pid // by owner and group

func (m model) members(key string) (all []ei.Pid) {
	for _, groups := range m {
		all = append(all, groups[key]...)
	}
	return inOrder(all)
}

func inOrder(pids []ei.Pid) []ei.Pid { return slices.SortedFunc(slices.Values(pids), ei.Pid.Compare) }

func flat(all [][]ei.Pid) []ei.Pid { return inOrder(slices.Concat(all...)) }

// Whatever joins and leaves, a table says what lists would; who watches can tell from the changes;
// who reads keeps what he has read; and nothing is left when all have left.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		owners := []*owner{newOwner(), newOwner(), newOwner()}
		m := model{0: {}, 1: {}, 2: {}}
		keys := []string{"a", "b", "c"}
		pids := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ei.Pid {
			return ei.Pid{Node: "n@h", ID: rapid.Uint32Range(1, 5).Draw(t, "pid"), Creation: 1}
		}), 0, 8)
		scope, group := newWatch(), newWatch()
		tab.watches[scope] = struct{}{}
		tab.group("a").watches[group] = struct{}{}
		seen := map[string]map[ei.Pid]int{}
		type reading struct{ slices, was [][]ei.Pid }
		var readings []reading
		take := func(w *watch) {
			for _, c := range w.take() {
				if seen[c.key] == nil {
					seen[c.key] = map[ei.Pid]int{}
				}
				for _, pid := range c.joined {
					seen[c.key][pid]++
				}
				for _, pid := range c.left {
					seen[c.key][pid]--
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				i, key, new := rapid.IntRange(0, 2).Draw(t, "owner"), rapid.SampledFrom(keys).Draw(t, "group"), pids.Draw(t, "pids")
				tab.join(owners[i], key, new)
				m[i][key] = append(m[i][key], new...)
			},
			"leave": func(t *rapid.T) {
				i, key, old := rapid.IntRange(0, 2).Draw(t, "owner"), rapid.SampledFrom(keys).Draw(t, "group"), pids.Draw(t, "pids")
				times := rapid.IntRange(1, 2).Draw(t, "times")
				left := tab.leaveEach(owners[i], key, counted(old), times)
				if times == 1 {
					tab.join(owners[i], key, left)
					left = tab.leave(owners[i], key, old)
				}
				var want []ei.Pid
				for range times {
					for _, pid := range old {
						if at := slices.Index(m[i][key], pid); at >= 0 {
							m[i][key] = slices.Delete(m[i][key], at, at+1)
							want = append(want, pid)
						}
					}
				}
				if !slices.Equal(inOrder(left), inOrder(want)) {
					t.Fatalf("left: %v, want %v", left, want)
				}
			},
			"set": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "owner")
				all := rapid.MapOfN(rapid.SampledFrom(keys), pids, 0, 3).Draw(t, "all")
				tab.set(owners[i], all)
				m[i] = maps.Clone(all)
				for key := range all {
					m[i][key] = slices.Clone(all[key])
				}
			},
			"drop": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "owner")
				tab.drop(owners[i])
				m[i] = map[string][]ei.Pid{}
			},
			"read": func(t *rapid.T) {
				all := tab.members(rapid.SampledFrom(keys).Draw(t, "group"), owners[0], false)
				r := reading{slices: all}
				for _, one := range all {
					r.was = append(r.was, slices.Clone(one))
				}
				readings = append(readings, r)
			},
			"watch": func(*rapid.T) { take(scope) },
			"": func(t *rapid.T) {
				var with []string
				for _, key := range keys {
					want := m.members(key)
					if got := flat(tab.members(key, owners[0], false)); !slices.Equal(got, want) {
						t.Fatalf("%s: %v, want %v", key, got, want)
					}
					if got := flat(tab.members(key, owners[0], true)); !slices.Equal(got, inOrder(m[0][key])) {
						t.Fatalf("%s, local: %v, want %v", key, got, m[0][key])
					}
					if len(want) > 0 {
						with = append(with, key)
					}
				}
				if got := slices.Sorted(slices.Values(tab.keys())); !slices.Equal(got, with) {
					t.Fatalf("groups: %v, want %v", got, with)
				}
				for i, o := range owners {
					bytes := 0
					for key, pids := range m[i] {
						if len(pids) > 0 {
							bytes += groupCost + len(key) + memberCost*len(pids)
						}
					}
					if o.bytes != bytes {
						t.Fatalf("bytes: %d, want %d", o.bytes, bytes)
					}
				}
				for _, r := range readings {
					for i := range r.was {
						if !slices.Equal(r.was[i], r.slices[i]) {
							t.Fatal("what was read has changed")
						}
					}
				}
			},
		})
		take(scope)
		for _, key := range keys {
			want := map[ei.Pid]int{}
			for _, pid := range m.members(key) {
				want[pid]++
			}
			got := maps.Clone(seen[key])
			maps.DeleteFunc(got, func(_ ei.Pid, n int) bool { return n == 0 })
			if !maps.Equal(got, want) {
				t.Fatalf("%s, watched: %v, want %v", key, got, want)
			}
		}
		total := 0
		for _, c := range group.take() {
			total += len(c.joined) - len(c.left)
		}
		if total != len(m.members("a")) {
			t.Fatalf("a group's watch: %d, want %d", total, len(m.members("a")))
		}
		for _, o := range owners {
			tab.drop(o)
		}
		delete(tab.group("a").watches, group)
		tab.tidy("a", tab.group("a"))
		if len(tab.groups) != 0 {
			t.Fatalf("left over: %v", tab.groups)
		}
	})
}

// A group has one key, however its term is encoded.
func TestKey(t *testing.T) {
	for name, same := range map[string][]any{
		"atom":   {ei.Atom("é"), ei.Raw("d\x00\x01\xe9"), ei.Raw("s\x01\xe9"), ei.Raw("v\x00\x02é")},
		"list":   {ei.String("ab"), ei.List{ei.Int(97), ei.Int(98)}, []int{97, 98}},
		"number": {1, ei.Int(1), ei.Raw("n\x01\x00\x01"), ei.Raw("b\x00\x00\x00\x01")},
		"map":    {ei.MapOf("a", 1, "b", ei.String("x")), ei.MapOf("b", ei.List{ei.Int('x')}, "a", 1)},
		"nested": {ei.Tuple{ei.List{ei.String("a")}}, ei.Tuple{ei.List{ei.List{ei.Int('a')}}}},
		"tail": {ei.ImproperList{Elems: []ei.Term{ei.String("a")}, Tail: ei.Int(1)},
			ei.ImproperList{Elems: []ei.Term{ei.List{ei.Int('a')}}, Tail: ei.Int(1)}},
		"text":    {"topic", ei.Atom("topic")},
		"binary":  {ei.Binary("topic"), []byte("topic")},
		"nothing": {ei.List{}, []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			first := keyFor(t, same[0])
			for _, v := range same[1:] {
				key := keyFor(t, v)
				require.Equal(t, first, key, "%#v", v)
			}
			require.NotNil(t, groupOf(first))
		})
	}
	for _, different := range [][2]any{
		{1, 1.0}, {"a", ei.Binary("a")}, {ei.Tuple{}, ei.List{}}, {ei.MapOf("a", 1), ei.MapOf("a", 2)},
	} {
		one := keyFor(t, different[0])
		other := keyFor(t, different[1])
		require.NotEqual(t, one, other)
	}
	_, err := keyOfValue(make(chan int))
	require.Error(t, err)
	deep := slices.Concat(slices.Repeat([]byte{'l', 0, 0, 0, 1}, 1e6), []byte{'j'}, slices.Repeat([]byte{'j'}, 1e6))
	_, err = keyOf(deep)
	require.ErrorIs(t, err, otp.ErrDeep)
}
