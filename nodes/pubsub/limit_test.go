package pubsub

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

// A node that tracks more than another one has room for is listed in part there, with an error;
// when it tracks fewer, all are listed, and nobody who was is seen to leave and join again.
func TestListIsIncomplete(t *testing.T) {
	const many, few, most = 60, 15, 20_000 // 15 fit twice, 60 do not
	w, psA, psB := two(t, nil)
	o := quick(2)
	a := presence(t, psA, o)
	small := *o
	small.Limit = most
	b := presence(t, psB, &small)
	ctx := expect.Context(t)
	first, others := box(t, w.all[0], nil), box(t, w.all[0], nil)
	require.NoError(t, a.Track(ctx, first, "room", "first", meta{1}))
	require.Eventually(t, func() bool { return len(list(t, b, "room")) == 1 }, expect.Limit, tick)
	require.NoError(t, b.Incomplete())
	left := make(chan string, many)
	watching, cancel := context.WithCancel(ctx)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for e := range Watch[meta](watching, b, "room") {
			if e.Kind == Left {
				left <- e.Key
			}
		}
	}()
	keyOf := func(i int) string { return fmt.Sprintf("%03d", i) }
	for i := range many {
		require.NoError(t, a.Track(ctx, others, "room", keyOf(i), meta{i}))
	}
	require.Eventually(t, func() bool { return b.Stats().Incomplete == 1 }, expect.Limit, tick)
	require.Eventually(t, func() bool { return b.Stats().LeftOut >= many-most/(entryCost+4) }, expect.Limit, tick)
	got, err := List[meta](b, "room")
	require.ErrorIs(t, err, ErrIncomplete)
	var one *nodes.Error
	require.ErrorAs(t, err, &one)
	require.Equal(t, w.all[0].Name(), one.Peer)
	require.ErrorIs(t, b.Incomplete(), ErrIncomplete)
	require.Greater(t, len(got), few)
	require.Less(t, len(got), many)
	require.Equal(t, "first", got[len(got)-1].Key)
	for i, p := range got[:len(got)-1] {
		require.Equal(t, keyOf(i), p.Key, "who was tracked first is kept")
	}
	another := "x"
	for a.shardOf(another) == a.shardOf("room") {
		another += "x"
	}
	_, err = List[meta](b, another)
	require.NoError(t, err, "of a shard with room for all")
	_, err = List[meta](a, "room")
	require.NoError(t, err)
	for i := range many - few {
		require.NoError(t, a.Untrack(ctx, others, "room", keyOf(i)))
	}
	require.Eventually(t, func() bool { return b.Incomplete() == nil && len(list(t, b, "room")) == few+1 }, expect.Limit, tick)
	require.Zero(t, b.Stats().Incomplete)
	cancel()
	<-ended
	close(left)
	for key := range left {
		require.Less(t, strings.Compare(key, keyOf(many-few)), 0, "who is still there has not left")
	}
}

func list(t *testing.T, p *Presence, topic string) []Present[meta] {
	t.Helper()
	got, err := List[meta](p, topic)
	if err != nil {
		require.ErrorIs(t, err, ErrIncomplete)
	}
	return got
}

// In the next process the node is asked again, whether the one before has kept what fits or, as
// older ones, nothing of it.
func TestIncompleteMoves(t *testing.T) {
	_, a, b := three(t, 1)
	for name, old := range map[string]bool{"same": false, "older": true} {
		t.Run(name, func(t *testing.T) {
			s := a.shards[0]
			r := replica{Node: "gone@h", Vsn: 1}
			a.mu.Lock()
			now := time.Now() // long ago, and the shard's process would forget it at once
			s.hear(&saying{kind: heartbeat, from: r, delta: &delta{
				clouds: map[replica]cloud{r: {1: {}}}, values: []*entry{someEntry(r, 1, "room", "ann")}}}, now)
			s.limit.LeaveOut(r, string(r.Node), 1, 1)
			if old {
				s.crdt.remove(s.tags[r][1])
				delete(s.context, r)
			}
			a.mu.Unlock()
			state, err := s.handover()
			require.NoError(t, err)
			next := newShard(b, s.name)
			next.process = b.shards[0].process
			require.NoError(t, next.inherit(state))
			require.True(t, next.limit.Lacks(r))
			require.Contains(t, next.context, r)
			require.Zero(t, next.context[r], "all of it is to be told")
			_, ask := next.tick(now, testDown, testPermdown)
			require.Contains(t, ask, r)
		})
	}
}
