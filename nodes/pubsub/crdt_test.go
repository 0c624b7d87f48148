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

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func term(t testing.TB, text string) ei.Term {
	t.Helper()
	v, err := ei.Parse(text)
	require.NoError(t, err, text)
	return v
}

// A writer is a replica that tracks, and hears others.
type writer struct {
	*tracker
	me      replica
	clock   uint64
	own     map[id]*entry
	changes *delta
	said    uint64 // the clock at which changes begin
	last    *delta // that it has said, after the clock lastAt
	lastAt  uint64
}

func newWriter(node string, vsn int64) *writer {
	w := &writer{tracker: newTracker(), me: replica{Node: ei.Atom(node), Vsn: vsn}, own: map[id]*entry{}}
	w.changes = w.empty()
	return w
}

func (w *writer) empty() *delta { return &delta{clouds: map[replica]cloud{w.me: {}}} }

func (w *writer) count() uint64 {
	w.clock++
	w.changes.clouds[w.me][w.clock] = struct{}{}
	return w.clock
}

func (w *writer) join(topic, key string) {
	e := someEntry(w.me, w.clock+1, topic, key)
	if w.own[e.id] != nil {
		w.leave(e.id)
		e = someEntry(w.me, w.clock+1, topic, key)
	}
	w.count()
	w.own[e.id] = e
	w.changes.values = append(w.changes.values, e)
}

func (w *writer) leave(i id) {
	e := w.own[i]
	delete(w.own, i)
	w.count()
	w.changes.clouds[w.me][e.tag.Clock] = struct{}{}
	w.changes.values = slices.DeleteFunc(w.changes.values, func(v *entry) bool { return v == e })
}

// beats is what the writer says in a period.
func (w *writer) beats() *saying {
	s := &saying{kind: heartbeat, from: w.me}
	if len(w.changes.clouds[w.me]) > 0 {
		s.delta = w.changes
		w.last, w.lastAt = w.changes, w.said
		w.changes, w.said = w.empty(), w.clock
	}
	s.clocks = w.clocks()
	s.clocks[w.me] = w.clock
	return s
}

// answers is what it gives to who knows that much: a delta that it has said, if nothing else is
// missing, or all of it.
func (w *writer) answers(clocks contextOf) *saying {
	s := &saying{kind: transferAck, from: w.me}
	if have, ok := clocks[w.me]; ok && w.last != nil && w.said == w.clock && have >= w.lastAt {
		s.delta = w.last
		return s
	}
	s.delta = &delta{context: contextOf{}, clouds: map[replica]cloud{}}
	for r := range clocks {
		if r == w.me {
			s.delta.context[r] = w.clock
			s.delta.values = append(s.delta.values, slices.Collect(maps.Values(w.own))...)
		} else if at, ok := w.context[r]; ok {
			s.delta.context[r] = at
			s.delta.clouds[r] = maps.Clone(w.tracker.clouds[r])
			s.delta.values = append(s.delta.values, slices.Collect(maps.Values(w.tags[r]))...)
		}
	}
	return s
}

// The reader hears several replicas, which join, leave, update, end, come again, and are silent, in
// any order and with losses. Once it has heard them all it knows what they track, and who follows
// it by Watch knows that, too.
func TestTrackerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const down, permdown = 30 * time.Second, 20 * time.Minute
		now, vsn := time.Unix(0, 0), int64(0)
		s := &shard{tracker: newTracker()}
		p := &Presence{ps: &PubSub{}, watchers: map[string]map[*watcher]struct{}{}, shards: []*shard{s}}
		nodes := []string{"a@h", "b@h", "c@h"}
		writers := map[string]*writer{}
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
			writers[node], fifo[node] = newWriter(node, vsn), nil
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
				writers[node.Draw(rt, "node")].join(rapid.SampledFrom(topics).Draw(rt, "topic"), rapid.SampledFrom(keys).Draw(rt, "key"))
			},
			"leave": func(rt *rapid.T) {
				w := writers[node.Draw(rt, "node")]
				ids := slices.SortedFunc(maps.Keys(w.own), func(a, b id) int { return int(w.own[a].tag.Clock) - int(w.own[b].tag.Clock) })
				if len(ids) > 0 {
					w.leave(rapid.SampledFrom(ids).Draw(rt, "id"))
				}
			},
			"beat": func(rt *rapid.T) {
				from := node.Draw(rt, "node")
				said := writers[from].beats()
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
		for range 3 {
			for _, of := range nodes {
				fifo[of] = append(fifo[of], writers[of].beats())
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
			maps.Copy(want, w.own)
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
	s, w, start := newTracker(), newWriter("a@h", 1), time.Unix(0, 0)
	w.join("room", "ann")
	w.join("room", "bob")
	changed, ask := s.hear(w.beats(), start)
	require.Len(t, changed, 2)
	require.False(t, ask, "nothing is missing")
	for _, tt := range []struct {
		after                   time.Duration
		changed, visible, known int
	}{
		{30 * time.Second, 0, 2, 2}, {30*time.Second + 1, 2, 0, 2}, {20 * time.Minute, 0, 0, 2}, {20*time.Minute + 1, 2, 0, 0},
		{time.Hour, 0, 0, 0},
	} {
		changed, asks := s.tick(start.Add(tt.after), DefaultDownPeriod, DefaultPermdownPeriod)
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
	_, ask = s.hear(w.beats(), start.Add(2*time.Hour))
	require.True(t, ask)
	changed, _ = s.hear(w.answers(s.clocks()), start.Add(2*time.Hour))
	require.Len(t, changed, 2)
}

// A replica that tells of more than the limit is forgotten, whatever it says, until another one is
// in its place. What others say of it beyond the limit is not taken.
func TestLimit(t *testing.T) {
	start := time.Unix(0, 0)
	many := func(r replica) (beats []*saying) {
		gaps, values := cloud{}, []*entry{}
		for i := range uint64(1000) {
			gaps[2*i+2] = struct{}{}
			values = append(values, someEntry(r, 2*i+2, "room", sprintf("%d", i)))
		}
		return []*saying{
			{kind: heartbeat, from: r, delta: &delta{clouds: map[replica]cloud{r: gaps}}},
			{kind: heartbeat, from: r, delta: &delta{clouds: map[replica]cloud{r: {}}, values: values}},
			{kind: transferAck, from: r, delta: &delta{context: contextOf{r: 2000}, clouds: map[replica]cloud{}, values: values}},
		}
	}
	for i := range 3 {
		s, logged := newTracker(), 0
		s.limit, s.exceeded = 50_000, func(replica, replica) { logged++ }
		a, b := newWriter("a@h", 1), newWriter("b@h", 1)
		for _, w := range []*writer{a, b} {
			w.join("room", "ann")
			s.hear(w.beats(), start)
		}
		big := many(a.me)[i]
		fromB := *big
		fromB.from, fromB.delta = b.me, new(*big.delta)
		fromB.delta.clouds, fromB.delta.context = maps.Clone(big.delta.clouds), maps.Clone(big.delta.context)
		fromB.delta.values = append(slices.Clone(big.delta.values), someEntry(b.me, 2, "room", "bob"))
		s.hear(&fromB, start)
		require.Len(t, s.entries, 3, "what b says of a is not taken, what it says of itself is")
		changed, ask := s.hear(big, start)
		require.Len(t, changed, 1)
		require.False(t, ask)
		for range 3 {
			a.join("room", "bob")
			changed, ask = s.hear(a.beats(), start)
			require.Empty(t, changed)
			require.False(t, ask)
			changed, asks := s.tick(start.Add(DefaultDownPeriod+1), DefaultDownPeriod, DefaultPermdownPeriod)
			require.Empty(t, asks)
			for _, i := range changed {
				require.Equal(t, b.me.Node, i.pid.Node)
			}
		}
		require.Len(t, s.entries, 2)
		require.Empty(t, s.clouds)
		require.Equal(t, 2, logged)
		next := newWriter("a@h", 2)
		next.join("room", "ann")
		s.hear(next.beats(), start)
		require.Len(t, s.entries, 3)
		sum := 0
		for _, bytes := range s.bytes {
			sum += bytes
		}
		for _, e := range s.entries {
			sum -= e.cost()
		}
		require.Zero(t, sum)
	}
}
