package pubsub

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	testDown     = 30 * time.Second
	testPermdown = 20 * time.Minute
)

func newReplica(node string, vsn int64) *tracker {
	t := newTracker(wide())
	t.me = replica{Node: ei.Atom(node), Vsn: vsn}
	return t
}

// track joins, or updates, a process, the number of its node's and n.
func (t *tracker) track(n int, topic, key string, meta int) id {
	k, _ := ei.Append(nil, key)
	m, _ := ei.Append(nil, map[ei.Atom]int{"n": meta})
	i := id{topic, ei.Pid{Node: t.me.Node, ID: uint32(n), Creation: 1}, string(k)}
	t.join(i, m)
	return i
}

// what gives what is tracked, by its replica or all that is visible.
func (t *tracker) what(own bool) map[string]bool {
	all := map[string]bool{}
	for i := range t.entries {
		if e := t.visible(i); e != nil && (!own || e.tag.Replica == t.me) {
			all[fmt.Sprintf("%s %v %q %x %v", i.topic, i.pid, i.key, e.meta, e.tag)] = true
		}
	}
	return all
}

// A post is a message to a replica's node, as it is on the wire.
type post struct {
	to  string
	raw ei.Raw
}

// Several replicas track, restart and fall silent; what they say, ask and answer is lost, doubled
// and comes in any order, and for some of it there is no room. Once everything arrives again, and
// there is, all see the same: what each tracks itself.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		nodes := []string{"a@h", "b@h", "c@h"}
		now, vsn := time.Unix(1_000_000, 0), int64(0)
		all := map[string]*tracker{}
		var posts []post
		encode := func(to string, said *saying) {
			raw, err := ei.Append(nil, said)
			require.NoError(rt, err)
			posts = append(posts, post{to, raw})
		}
		ask := func(from *tracker, to ei.Atom) {
			ref := ei.Ref{Node: from.me.Node, Creation: 1, Len: 1}
			encode(string(to), &saying{kind: transferReq, from: from.me, clocks: from.clocks(), ref: ref})
		}
		others := func(node string) (list []string) {
			return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == node })
		}
		limit := rapid.SampledFrom([]int{64 << 20, 1700, 600}).Draw(rt, "limit")
		start := func(node string) {
			vsn++
			all[node] = newReplica(node, vsn)
			all[node].limit = limitOf(limit)
		}
		period := func(node string, silence time.Duration) {
			s := all[node]
			_, asks := s.tick(now, testDown, testPermdown)
			for _, r := range asks {
				ask(s, r.Node)
			}
			if said := s.speak(now, silence); said != nil {
				for _, other := range others(node) {
					encode(other, said)
				}
			}
		}
		deliver := func(p post) {
			said, err := parseSaying(p.raw)
			require.NoError(rt, err)
			s := all[p.to]
			if said.kind == transferReq {
				if s.clock() > 0 {
					encode(string(said.from.Node), &saying{kind: transferAck, from: s.me, ref: said.ref, delta: s.missed(said.from, said.clocks)})
				}
				return
			}
			if _, more := s.hear(said, now); more {
				ask(s, said.from.Node)
			}
		}
		for _, node := range nodes {
			start(node)
		}
		node := rapid.SampledFrom(nodes)
		small := rapid.IntRange(1, 2)
		rt.Repeat(map[string]func(*rapid.T){
			"track": func(rt *rapid.T) {
				key := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "key")
				all[node.Draw(rt, "node")].track(small.Draw(rt, "process"), "room", key, small.Draw(rt, "meta"))
			},
			"untrack": func(rt *rapid.T) {
				s := all[node.Draw(rt, "node")]
				ids := slices.SortedFunc(maps.Keys(s.what(true)), func(a, b string) int { return len(a) - len(b) })
				if len(ids) > 0 {
					for i, e := range s.entries {
						if e.tag.Replica == s.me {
							s.leave(i)
							break
						}
					}
				}
			},
			"end": func(rt *rapid.T) {
				s := all[node.Draw(rt, "node")]
				s.leaveAll(ei.Pid{Node: s.me.Node, ID: uint32(small.Draw(rt, "process")), Creation: 1})
			},
			"period":  func(rt *rapid.T) { now = now.Add(time.Second); period(node.Draw(rt, "node"), 10*time.Second) },
			"silence": func(rt *rapid.T) { now = now.Add(31 * time.Second); period(node.Draw(rt, "node"), 10*time.Second) },
			"long":    func(rt *rapid.T) { now = now.Add(21 * time.Minute); period(node.Draw(rt, "node"), 10*time.Second) },
			"restart": func(rt *rapid.T) {
				of := node.Draw(rt, "node")
				if rapid.Bool().Draw(rt, "says so") {
					for _, other := range others(of) {
						encode(other, &saying{kind: gracefulPermdown, from: all[of].me})
					}
				}
				start(of)
			},
			"deliver": func(rt *rapid.T) {
				if len(posts) > 0 {
					i := rapid.IntRange(0, len(posts)-1).Draw(rt, "which")
					p := posts[i]
					if rapid.IntRange(0, 3).Draw(rt, "once more") > 0 {
						posts = slices.Delete(posts, i, i+1)
					}
					deliver(p)
				}
			},
			"lose": func(rt *rapid.T) {
				if len(posts) > 0 {
					i := rapid.IntRange(0, len(posts)-1).Draw(rt, "which")
					posts = slices.Delete(posts, i, i+1)
				}
			},
			"forget": func(rt *rapid.T) { // what has been removed is not kept for ever
				s := all[node.Draw(rt, "node")]
				if n := len(s.removed); n > 0 && s.removed[n-1].at <= s.said {
					s.floor, s.removed = s.removed[n-1].at, nil
				}
			},
			"": func(rt *rapid.T) {
				for _, s := range all {
					for i, e := range s.entries {
						require.Same(rt, e, s.tags[e.tag.Replica][e.tag.Clock])
						_, isOwn := s.pids[i.pid][i]
						require.Equal(rt, e.tag.Replica == s.me, isOwn)
					}
					for r, bytes := range s.bytes {
						require.True(rt, r == s.me || bytes+clockCost*len(s.clouds[r]) <= limit)
					}
				}
			},
		})
		// there is room for all in the end
		for _, s := range all {
			for i := range s.entries {
				if s.tracked(i) != nil && s.bytes[s.me] > limit {
					s.leave(i)
				}
			}
		}
		for range 20 {
			for i := 0; i < len(posts); i++ {
				deliver(posts[i])
			}
			posts = nil
			now = now.Add(11 * time.Second)
			for _, of := range nodes {
				period(of, 10*time.Second)
			}
		}
		want := map[string]bool{}
		for _, s := range all {
			maps.Copy(want, s.what(true))
		}
		for of, s := range all {
			require.Equal(rt, want, s.what(false), of)
			require.False(rt, s.limit.Any(), of)
		}
		// and nobody has anything more to ask
		for range 3 {
			for _, p := range posts {
				said, err := parseSaying(p.raw)
				require.NoError(rt, err)
				require.Equal(rt, heartbeat, said.kind)
				require.Nil(rt, said.delta)
				deliver(p)
			}
			posts = nil
			now = now.Add(11 * time.Second)
			for _, of := range nodes {
				period(of, 10*time.Second)
			}
		}
	})
}

// A replica that has missed a few changes gets these; one that has missed too many, or which lacks
// more than this one's, gets everything that it can know of.
func TestMissed(t *testing.T) {
	s, asker := newReplica("a@h", 1), replica{Node: "b@h", Vsn: 1}
	third := replica{Node: "c@h", Vsn: 1}
	for n := range 10 {
		s.track(n, "room", "x", n)
	}
	s.news()
	s.leaveAll(ei.Pid{Node: "a@h", ID: 0, Creation: 1})
	s.track(1, "room", "x", 100)
	s.up(third)
	s.context[third] = 5
	for name, tt := range map[string]struct {
		clocks  contextOf
		isState bool
		clouds  []uint64
		values  int
	}{
		"nothing":    {contextOf{s.me: 13, third: 5}, true, nil, 9},
		"the last":   {contextOf{s.me: 11}, false, []uint64{2, 12, 13}, 1},
		"both":       {contextOf{s.me: 10}, false, []uint64{1, 2, 11, 12, 13}, 1},
		"and a join": {contextOf{s.me: 9, third: 5}, false, []uint64{1, 2, 10, 11, 12, 13}, 2},
		"of a third": {contextOf{s.me: 11, third: 4}, true, nil, 9},
		"of itself":  {contextOf{s.me: 11, asker: 4}, false, []uint64{2, 12, 13}, 1},
		"unknown":    {contextOf{third: 5}, true, nil, 0},
	} {
		d := s.missed(asker, tt.clocks)
		require.Equal(t, tt.isState, d.isState, name)
		require.Equal(t, tt.clouds, slices.Sorted(maps.Keys(d.clouds[s.me])), name)
		require.Len(t, d.values, tt.values, name)
		require.NotContains(t, d.context, asker, name)
	}
	for n := range maxDelta + 10 {
		s.track(5, "room", "x", n)
	}
	s.news()
	require.Len(t, s.removed, maxDelta)
	require.True(t, s.missed(asker, contextOf{s.me: 12}).isState)
	require.False(t, s.missed(asker, contextOf{s.me: s.clock() - maxDelta}).isState)
	require.Equal(t, s.since(s.clock()-3), s.missed(asker, contextOf{s.me: s.clock() - 3}))
}

// What others miss they know that they have missed, and what comes late changes nothing.
func TestMissedUpdate(t *testing.T) {
	now := time.Unix(0, 0)
	s, b := newReplica("a@h", 1), newReplica("b@h", 1)
	i := s.track(1, "room", "x", 1)
	first := s.speak(now, 0)
	b.hear(first, now)
	s.track(1, "room", "x", 2)
	second := s.speak(now, 0) // b does not hear it
	s.leave(i)
	b.hear(s.speak(now, 0), now)
	require.NotNil(t, b.visible(i))
	require.NotEmpty(t, b.behind())
	b.hear(&saying{kind: transferAck, from: s.me, delta: s.missed(b.me, b.clocks())}, now)
	require.Nil(t, b.visible(i))
	require.Empty(t, b.behind())
	s.track(1, "room", "x", 3)
	third := s.speak(now, 0)
	c := newReplica("c@h", 1)
	for _, said := range []*saying{third, first, second} {
		c.hear(said, now)
	}
	require.Equal(t, s.clock(), c.visible(i).tag.Clock)
}

// Who tracks nothing says nothing; who has tracked once says that it is there, from time to time.
func TestSpeak(t *testing.T) {
	s, now := newReplica("a@h", 1), time.Unix(0, 0)
	require.Nil(t, s.speak(now, time.Second))
	i := s.track(1, "room", "x", 1)
	require.Len(t, s.speak(now, time.Second).delta.values, 1)
	require.Nil(t, s.speak(now.Add(time.Second-1), time.Second))
	s.leave(i)
	said := s.speak(now.Add(time.Second-1), time.Second)
	require.Empty(t, said.delta.values)
	require.Equal(t, contextOf{s.me: 2}, said.clocks)
	require.Nil(t, s.speak(now.Add(time.Second), time.Second))
	said = s.speak(now.Add(2*time.Second), time.Second)
	require.Nil(t, said.delta)
	require.Equal(t, contextOf{s.me: 2}, said.clocks)
	b := newReplica("b@h", 1)
	b.track(1, "room", "x", 1)
	s.hear(b.speak(now, 0), now.Add(2*time.Second))
	require.NotNil(t, s.speak(now.Add(2*time.Second), time.Second), "somebody is new")
}

// Nobody else changes what a replica tracks, or its clock.
func TestOwnStays(t *testing.T) {
	s, now := newReplica("a@h", 1), time.Unix(0, 0)
	i := s.track(1, "room", "x", 1)
	b := replica{Node: "b@h", Vsn: 1}
	odd := &entry{i, s.entries[i].meta, tag{Replica: b, Clock: 1}}
	forged := &entry{id{"room", i.pid, "k"}, s.entries[i].meta, tag{Replica: s.me, Clock: 7}}
	for _, d := range []*delta{
		{context: contextOf{s.me: 9, b: 1}, clouds: map[replica]cloud{}, values: []*entry{odd, forged}},
		{context: contextOf{}, clouds: map[replica]cloud{s.me: {1: {}, 2: {}}, b: {1: {}}}, values: []*entry{odd, forged}},
	} {
		s.hear(&saying{kind: heartbeat, from: b, delta: d, clocks: contextOf{s.me: 9}}, now)
		require.Equal(t, s.me, s.entries[i].tag.Replica)
		require.Len(t, s.entries, 1)
		require.Equal(t, uint64(1), s.clock())
		require.Empty(t, s.clouds)
	}
	_, asks := s.tick(now, testDown, testPermdown)
	require.Empty(t, asks)
}
