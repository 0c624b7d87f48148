package pubsub

import (
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
)

// Whatever a peer says, twice, what is known stays in order, what this replica tracks stays as it
// is, and what it answers can be read.
func FuzzSaying(f *testing.F) {
	for _, s := range sayings("a@h") {
		f.Add([]byte(s.term(f)), []byte(sayings("a@h")[0].term(f)))
	}
	asks := &saying{kind: transferReq, ref: ei.Ref{Node: "b@h", Creation: 1, Len: 1}, from: replica{Node: "b@h", Vsn: 1}}
	f.Add([]byte(raw(f, asks)), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := newReplica("a@h", 1)
		own := s.track(1, "room", "x", 1)
		now := time.Unix(0, 0)
		for _, b := range [][]byte{first, second, first} {
			said, err := parseSaying(b)
			if err != nil {
				continue
			}
			if said.kind == transferReq {
				answer := &saying{kind: transferAck, from: s.me, ref: said.ref, delta: s.missed(said.from, said.clocks)}
				got, err := parseSaying(raw(t, answer))
				require.NoError(t, err)
				require.ElementsMatch(t, answer.delta.values, got.delta.values)
				continue
			}
			s.hear(said, now)
			require.NotNil(t, s.tracked(own))
			require.Equal(t, uint64(1), s.clock())
			now = now.Add(20 * time.Second)
			s.tick(now, 30*time.Second, time.Minute)
			for i, e := range s.entries {
				require.Same(t, e, s.topics[i.topic][i])
				require.Same(t, e, s.tags[e.tag.Replica][e.tag.Clock])
				require.Contains(t, s.context, e.tag.Replica)
				_, _ = present[any](e)
			}
		}
	})
}

func FuzzForward(f *testing.F) {
	b, err := appendForward("topic", ei.Tuple{ei.Atom("a"), ei.Int(1)}, plain)
	require.NoError(f, err)
	f.Add([]byte(b))
	f.Fuzz(func(t *testing.T, b []byte) {
		topic, message, ok := parseForward(b)
		if !ok {
			return
		}
		again, err := appendForward(string(topic), message, plain)
		require.NoError(t, err)
		sameTopic, sameMessage, ok := parseForward(again)
		require.True(t, ok)
		require.Equal(t, topic, sameTopic)
		require.Equal(t, message, sameMessage)
	})
}
