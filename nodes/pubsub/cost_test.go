package pubsub

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// smallSayings are short messages of a replica that tracks many, none of whom has gone.
func smallSayings(r replica) map[string]*saying {
	return map[string]*saying{
		"heartbeat with a context": {kind: heartbeat, from: r, clocks: contextOf{r: 1}, delta: &delta{
			context: contextOf{r: 1 << 20}, clouds: map[replica]cloud{}}},
		"heartbeat": {kind: heartbeat, from: r, clocks: contextOf{r: 1}, delta: &delta{clouds: map[replica]cloud{r: {1: {}}}}},
		"answer":    {kind: transferAck, from: r, delta: &delta{context: contextOf{r: 1}, clouds: map[replica]cloud{}}},
	}
}

func manyTracked(t testing.TB, n int) (*tracker, replica) {
	s, r := newReplica("a@h", 1), replica{Node: "b@h", Vsn: 1}
	d := &delta{clouds: map[replica]cloud{r: {1: {}}}}
	for i := range uint64(n) {
		d.values = append(d.values, someEntry(r, i+2, "room", sprintf("%d", i)))
		d.clouds[r][i+2] = struct{}{}
	}
	s.hear(&saying{kind: heartbeat, from: r, delta: d}, time.Unix(0, 0))
	require.Len(t, s.entries, n)
	return s, r
}

// A heartbeat has changes: whatever context one has, nobody is gone by it, and nobody is looked at.
func TestHeartbeatHasNoContext(t *testing.T) {
	s, r := manyTracked(t, 10)
	for name, said := range smallSayings(r) {
		got, err := parseSaying(said.term(t))
		require.NoError(t, err, name)
		if said.kind == heartbeat {
			require.Empty(t, got.delta.context, name)
		}
		changed, _ := s.hear(got, time.Unix(0, 0))
		require.Empty(t, changed, name)
		require.Len(t, s.entries, 10, name)
		require.Equal(t, uint64(11), s.context[r], name)
	}
}

// What a message counts is found without a look at what it does not, and stays known.
func TestObserved(t *testing.T) {
	s, r := manyTracked(t, 1000)
	tags := func(clock uint64) (n int) {
		all := s.observed(&delta{context: contextOf{r: clock}})
		for i, e := range all {
			require.Equal(t, uint64(i+2), e.tag.Clock, "the lowest first")
		}
		return len(all)
	}
	for range 2 {
		require.Equal(t, 0, tags(1))
		require.Equal(t, 9, tags(10))
		require.Equal(t, 1000, tags(5000))
		require.Len(t, s.tagClocks[r].all, 1000)
	}
	for _, e := range s.tags[r] {
		s.remove(e)
	}
	require.Equal(t, 0, tags(1<<20))
	require.Empty(t, s.tagClocks[r].all, "what is gone is looked at once")
	for i := range uint64(10_000) { // who comes and goes
		e := someEntry(r, i+10_000, "room", "ann")
		s.insert(e)
		s.remove(e)
		require.Less(t, len(s.tagClocks[r].all), 100)
	}
}
