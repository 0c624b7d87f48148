package pubsub

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/kept"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func term(t testing.TB, text string) ei.Term {
	t.Helper()
	v, err := ei.Parse(text)
	require.NoError(t, err, text)
	return v
}

// wide is a limit that nothing exceeds here.
func wide() *kept.Limit[replica] { return limitOf(64 << 20) }

func limitOf(bytes int) *kept.Limit[replica] {
	return kept.NewLimit[replica](bytes, "PresenceOptions.Limit", slog.New(slog.DiscardHandler))
}

// own are the entries of what a replica tracks itself.
func (t *tracker) own() map[id]*entry {
	all := maps.Clone(t.entries)
	maps.DeleteFunc(all, func(_ id, e *entry) bool { return e.tag.Replica != t.me })
	return all
}

// answers is what a replica gives to one that knows that much.
func (t *tracker) answers(clocks contextOf) *saying {
	return &saying{kind: transferAck, from: t.me, delta: t.missed(replica{Node: "asker@h", Vsn: 1}, clocks)}
}

// The reader hears several replicas, which join, leave, update, end, come again, and are silent, in
// any order and with losses. Once it has heard them all it knows what they track, and who follows
// it by Watch knows that, too.
func TestTrackerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const down, permdown = 30 * time.Second, 20 * time.Minute
		now, vsn := time.Unix(0, 0), int64(0)
		s := &shard{tracker: newTracker(wide())}
		p := &Presence{ps: &PubSub{}, watchers: map[string]map[*watcher]struct{}{}, shards: []*shard{s}}
		nodes := []string{"a@h", "b@h", "c@h"}
		writers := map[string]*tracker{}
		fifo := map[string][]*saying{} // on their way to the reader
		var late []*saying             // of replicas that have ended
		topics := []string{"room:1", "room:2"}
		keys := []string{"ann", "bob", "carl"}
		watchers := map[string]*watcher{}
		told := map[string]map[id]*entry{}
		for _, topic := range topics {
			watchers[topic], told[topic] = p.watch(topic), map[id]*entry{}
		}
		start := func(node string) {
			vsn++
			late = append(late, fifo[node]...)
			writers[node], fifo[node] = newReplica(node, vsn), nil
		}
		ask := func(r replica) {
			if w := writers[string(r.Node)]; w != nil && w.me == r {
				fifo[string(r.Node)] = append(fifo[string(r.Node)], w.answers(s.clocks()))
			}
		}
		hear := func(said *saying) {
			parsed, err := parseSaying(said.term(t)) // as it comes
			require.NoError(rt, err)
			changed, more := s.hear(parsed, now)
			p.tell(changed)
			if more {
				ask(said.from)
			}
		}
		tick := func() {
			changed, asks := s.tick(now, down, permdown)
			p.tell(changed)
			for _, r := range asks {
				ask(r)
			}
		}
		take := func(topic string) bool {
			change, e := p.take(watchers[topic])
			if e == nil {
				return false
			}
			had := told[topic][e.id]
			switch change {
			case Joined:
				require.Nil(rt, had)
				told[topic][e.id] = e
			case Updated:
				require.NotNil(rt, had)
				require.NotEqual(rt, had.tag, e.tag)
				told[topic][e.id] = e
			case Left:
				require.Equal(rt, had, e)
				delete(told[topic], e.id)
			}
			return true
		}
		for _, node := range nodes {
			start(node)
		}
		node := rapid.SampledFrom(nodes)
		rt.Repeat(map[string]func(*rapid.T){
			"join": func(rt *rapid.T) {
				w := writers[node.Draw(rt, "node")]
				w.track(1, rapid.SampledFrom(topics).Draw(rt, "topic"), rapid.SampledFrom(keys).Draw(rt, "key"), 1)
			},
			"leave": func(rt *rapid.T) {
				w := writers[node.Draw(rt, "node")]
				own := w.own()
				ids := slices.SortedFunc(maps.Keys(own), func(a, b id) int { return int(own[a].tag.Clock) - int(own[b].tag.Clock) })
				if len(ids) > 0 {
					w.leave(rapid.SampledFrom(ids).Draw(rt, "id"))
				}
			},
			"beat": func(rt *rapid.T) {
				from := node.Draw(rt, "node")
				said := writers[from].speak(now, 0)
				if said == nil {
					return
				}
				fifo[from] = append(fifo[from], said)
				for _, other := range nodes { // who may hear it, or not
					if other != from && rapid.Bool().Draw(rt, "hears") {
						writers[other].hear(said, now)
					}
				}
			},
			"arrive": func(rt *rapid.T) {
				from := node.Draw(rt, "node")
				if q := fifo[from]; len(q) > 0 {
					fifo[from] = q[1:]
					hear(q[0])
				}
			},
			"lose": func(rt *rapid.T) {
				from := node.Draw(rt, "node")
				if q := fifo[from]; len(q) > 0 {
					fifo[from] = q[1:]
				}
			},
			"late": func(*rapid.T) {
				if len(late) > 0 {
					hear(late[0])
					late = late[1:]
				}
			},
			"meet": func(rt *rapid.T) { // whoever it is
				of := node.Draw(rt, "node")
				fifo[of] = append(fifo[of], writers[of].answers(s.clocks()))
			},
			"tick":   func(*rapid.T) { now = now.Add(1500 * time.Millisecond); tick() },
			"silent": func(*rapid.T) { now = now.Add(31 * time.Second); tick() },
			"end": func(rt *rapid.T) {
				of := node.Draw(rt, "node")
				if rapid.Bool().Draw(rt, "gracefully") {
					hear(&saying{kind: gracefulPermdown, from: writers[of].me})
				}
				start(of)
			},
			"take": func(rt *rapid.T) { take(rapid.SampledFrom(topics).Draw(rt, "topic")) },
			"": func(rt *rapid.T) { // the tables agree, and nobody who is down is seen
				count := 0
				for i, e := range s.entries {
					require.Same(rt, e, s.topics[i.topic][i])
					require.Same(rt, e, s.tags[e.tag.Replica][e.tag.Clock])
					require.Contains(rt, s.context, e.tag.Replica)
				}
				for _, of := range s.tags {
					count += len(of)
				}
				require.Equal(rt, len(s.entries), count)
				for r := range s.down {
					require.True(rt, s.replicas[r.Node].isDown)
				}
			},
		})
		// all that is on its way arrives, and each replica says a last word: whoever is behind asks
		for _, said := range late {
			hear(said)
		}
		for _, w := range writers {
			if w.clock() == 0 { // who has never tracked says nothing
				w.track(1, topics[0], keys[0], 1)
			}
		}
		for range 3 {
			for _, of := range nodes {
				if said := writers[of].speak(now, 0); said != nil {
					fifo[of] = append(fifo[of], said)
				}
			}
			for _, of := range nodes {
				for len(fifo[of]) > 0 {
					said := fifo[of][0]
					fifo[of] = fifo[of][1:]
					hear(said)
				}
			}
			tick()
			tick()
		}
		want := map[id]*entry{}
		for _, w := range writers {
			maps.Copy(want, w.own())
		}
		got := map[id]*entry{}
		for i := range s.entries {
			if e := s.visible(i); e != nil {
				got[i] = e
			}
		}
		require.Equal(rt, want, got)
		seen := map[id]*entry{}
		for _, topic := range topics {
			for take(topic) {
			}
			maps.Copy(seen, told[topic])
		}
		require.Equal(rt, want, seen)
	})
}

// After 30 s without a word those of a replica are hidden, after 20 min forgotten; what it says
// then makes it known anew, and it is asked for the rest.
func TestSilence(t *testing.T) {
	s, w, start := newTracker(wide()), newReplica("a@h", 1), time.Unix(0, 0)
	w.track(1, "room", "ann", 1)
	w.track(1, "room", "bob", 1)
	changed, ask := s.hear(w.speak(start, 0), start)
	require.Len(t, changed, 2)
	require.False(t, ask, "nothing is missing")
	for _, tt := range []struct {
		after                   time.Duration
		changed, visible, known int
	}{
		{30 * time.Second, 0, 2, 2}, {30*time.Second + 1, 2, 0, 2}, {20 * time.Minute, 0, 0, 2}, {20*time.Minute + 1, 2, 0, 0},
		{time.Hour, 0, 0, 0},
	} {
		changed, asks := s.tick(start.Add(tt.after), defaultDownPeriod, defaultPermdownPeriod)
		require.Len(t, changed, tt.changed, "%v", tt.after)
		require.Empty(t, asks)
		require.Len(t, s.entries, tt.known)
		visible := 0
		for i := range s.entries {
			if s.visible(i) != nil {
				visible++
			}
		}
		require.Equal(t, tt.visible, visible, "%v", tt.after)
	}
	require.Empty(t, s.context)
	require.Empty(t, s.replicas)
	_, ask = s.hear(w.speak(start, 0), start.Add(2*time.Hour))
	require.True(t, ask)
	changed, _ = s.hear(w.answers(s.clocks()), start.Add(2*time.Hour))
	require.Len(t, changed, 2)
}

// Of a replica that tells of more than there is room for, those are kept who were tracked first,
// whoever tells of it and how. When there is room it is asked again, though not at once each time.
func TestLimit(t *testing.T) {
	const all, fit = 30, 10
	now := time.Unix(1_000_000, 0)
	a, b := replica{Node: "a@h", Vsn: 1}, replica{Node: "b@h", Vsn: 1}
	one := someEntry(a, 1, "room", "10").cost()
	keysOf := func(s *tracker) (keys []string) {
		for i := range s.entries {
			keys = append(keys, keyText(ei.Raw(i.key)))
		}
		slices.Sort(keys)
		return keys
	}
	numbers := func(from, to int) (keys []string) {
		for i := from; i < to; i++ {
			keys = append(keys, sprintf("%d", i))
		}
		return keys
	}
	var values []*entry
	clocks := cloud{}
	for i := range uint64(all) {
		values = append(values, someEntry(a, i+1, "room", sprintf("%d", i+10)))
		clocks[i+1] = struct{}{}
	}
	rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	for name, said := range map[string]*saying{
		"heartbeat":       {kind: heartbeat, from: a, delta: &delta{clouds: map[replica]cloud{a: clocks}, values: values}},
		"answer":          {kind: transferAck, from: a, delta: &delta{context: contextOf{a: all}, values: values}},
		"another replica": {kind: transferAck, from: b, delta: &delta{context: contextOf{a: all}, values: values}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newReplica("s@h", 1)
			s.limit = limitOf(fit * one)
			s.hear(&saying{kind: heartbeat, from: a}, now)
			s.hear(said, now)
			require.Equal(t, numbers(10, 20), keysOf(s))
			require.True(t, s.limit.Lacks(a))
			leftOut, lacking := s.limit.Count()
			require.Equal(t, int64(all-fit), leftOut)
			require.Equal(t, 1, lacking)
			require.Equal(t, uint64(all), s.context[a])
			s.track(1, "room", "own", 1)
			require.NotContains(t, s.speak(now, 0).clocks, a, "nobody is told that all of it is here")
			require.Equal(t, contextOf{s.me: 1}, s.missed(b, contextOf{a: 0, s.me: 7}).context)
			s.leaveAll(ei.Pid{Node: "s@h", ID: 1, Creation: 1})

			// 12 of those that are left out go, then 3 of the others: there is room for some, not for all
			clock, gone := uint64(all), map[uint64]bool{}
			leave := func(from, to uint64) {
				t.Helper()
				d := &delta{clouds: map[replica]cloud{a: {}}}
				for c := from; c < to; c++ {
					clock++
					gone[c] = true
					d.clouds[a][c], d.clouds[a][clock] = struct{}{}, struct{}{}
				}
				s.hear(&saying{kind: heartbeat, from: a, delta: d, clocks: contextOf{a: clock}}, now)
			}
			answer := func() {
				t.Helper()
				d := &delta{context: contextOf{a: clock}}
				for _, e := range values {
					if !gone[e.tag.Clock] {
						d.values = append(d.values, e)
					}
				}
				s.hear(&saying{kind: transferAck, from: a, delta: d}, now)
			}
			leave(fit+1, fit+13)
			leave(1, 4)
			_, ask := s.tick(now, testDown, testPermdown)
			require.Empty(t, ask)
			require.Equal(t, numbers(13, 20), keysOf(s))
			leave(4, 9)
			_, ask = s.tick(now, testDown, testPermdown)
			require.Equal(t, []replica{a}, ask)
			require.Zero(t, s.clocks()[a], "so all of it is given")
			require.Equal(t, numbers(18, 20), keysOf(s), "nobody leaves meanwhile")
			answer()
			require.Equal(t, append(numbers(18, 20), numbers(32, 40)...), keysOf(s))
			require.False(t, s.limit.Any())
			require.Equal(t, clock, s.context[a])
			require.Equal(t, fit*one, s.bytes[a])

			// once more: there is room again, but it was asked a moment ago
			clock++
			values = append(values, someEntry(a, clock, "room", "50"))
			more := &saying{kind: heartbeat, from: a, delta: &delta{clouds: map[replica]cloud{a: {clock: {}}}, values: values[len(values)-1:]}}
			s.hear(more, now)
			values = values[:len(values)-1]
			require.True(t, s.limit.Lacks(a))
			leave(9, 10)
			for _, tt := range []struct {
				after time.Duration
				ask   int
			}{{0, 0}, {4 * time.Second, 0}, {time.Second, 1}, {9 * time.Second, 0}, {time.Second, 1}, {19 * time.Second, 0}, {time.Second, 1}} {
				now = now.Add(tt.after)
				s.hear(&saying{kind: heartbeat, from: a}, now)
				_, ask = s.tick(now, time.Hour, 2*time.Hour)
				require.Len(t, ask, tt.ask, "%v", tt.after)
			}
			answer()
			require.False(t, s.limit.Any())
			s.forget(a)
			require.Empty(t, s.entries)
			require.Nil(t, s.tagClocks[a])
			require.Empty(t, s.largest)
		})
	}
}

// Clocks that come out of order take no more than there is room for, and what is told next closes
// the gap.
func TestLimitOfClouds(t *testing.T) {
	s, now := newReplica("s@h", 1), time.Unix(0, 0)
	s.limit = limitOf(100 * clockCost)
	a := replica{Node: "a@h", Vsn: 1}
	gaps := cloud{}
	for i := range uint64(1000) {
		gaps[2*i+2] = struct{}{}
	}
	s.hear(&saying{kind: heartbeat, from: a, delta: &delta{clouds: map[replica]cloud{a: gaps}}, clocks: contextOf{a: 2000}}, now)
	require.Len(t, s.clouds[a], 100)
	require.Zero(t, s.context[a])
	s.tick(now, testDown, testPermdown)
	_, ask := s.tick(now, testDown, testPermdown)
	require.Equal(t, []replica{a}, ask)
	odd := cloud{}
	for i := range uint64(50) {
		odd[2*i+1] = struct{}{}
	}
	s.hear(&saying{kind: heartbeat, from: a, delta: &delta{clouds: map[replica]cloud{a: odd}}}, now)
	require.Equal(t, uint64(100), s.context[a])
	require.Len(t, s.clouds[a], 50)
	require.Len(t, s.cloudClocks[a].all, 50)
	s.hear(&saying{kind: transferAck, from: a, delta: &delta{context: contextOf{a: 2000}}}, now)
	require.Equal(t, uint64(2000), s.context[a])
	require.Empty(t, s.clouds)
	require.Empty(t, s.cloudClocks)
}

// What an entry replaces does not count towards the limit any more, in whatever way it goes.
func TestLimitOfReplaced(t *testing.T) {
	now, a := time.Unix(0, 0), replica{Node: "a@h", Vsn: 1}
	for name, tt := range map[string]struct {
		clocks cloud
		key    string
	}{
		"update":                             {cloud{1: {}, 2: {}}, "ann"},
		"update, and the leave is not known": {cloud{2: {}}, "ann"},
		"another one in its place":           {cloud{1: {}, 2: {}}, "bob"},
	} {
		s := newReplica("s@h", 1)
		first, second := someEntry(a, 1, "room", "ann"), someEntry(a, 2, "room", tt.key)
		s.limit = limitOf(first.cost())
		says := func(clocks cloud, e *entry) {
			d := &delta{clouds: map[replica]cloud{a: clocks}, values: []*entry{e}}
			s.hear(&saying{kind: heartbeat, from: a, delta: d}, now)
		}
		says(cloud{1: {}}, first)
		says(tt.clocks, second)
		require.Equal(t, map[id]*entry{second.id: second}, s.entries, name)
		require.Equal(t, second.cost(), s.bytes[a], name)
		require.False(t, s.limit.Any(), name)
	}
}

// Of the entries to which a peer gives one tag, there is one: nothing would end another.
func TestTagSaidTwice(t *testing.T) {
	s, a := newReplica("s@h", 1), replica{Node: "a@h", Vsn: 1}
	ann, bob := someEntry(a, 1, "room", "ann"), someEntry(a, 1, "room", "bob")
	changed, _ := s.hear(&saying{kind: heartbeat, from: a, delta: &delta{
		clouds: map[replica]cloud{a: {1: {}}}, values: []*entry{ann, bob}}}, time.Unix(0, 0))
	require.Subset(t, changed, []id{ann.id, bob.id})
	require.Len(t, s.entries, 1)
	require.Equal(t, ann.cost(), s.bytes[a])
	s.forget(a)
	require.Empty(t, s.entries)
	require.Empty(t, s.topics)
}
