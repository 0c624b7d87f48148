package pubsub

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A user is what is tracked.
type user struct {
	Name       string
	PhxRef     string
	PhxRefPrev string `ei:",omitempty"`
}

// follow starts the Presence of the Go node.
func (w *world) follow(shards int) *pubsub.Presence {
	w.t.Helper()
	p, err := w.ps.StartPresence(w.ctx(), w.presence, &pubsub.PresenceOptions{
		PoolSize: shards, BroadcastPeriod: period, DownPeriod: down, PermdownPeriod: 1000 * period,
	})
	require.NoError(w.t, err)
	return p
}

// seen is who is on a topic, as this node sees it.
func seen(p *pubsub.Presence, topic string) string {
	list, err := pubsub.List[user](p, topic)
	var all []string
	for _, one := range list {
		all = append(all, one.Key+"="+one.Meta.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ") + errorText(err)
}

func errorText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

func (w *world) track(p *peer, topic string, key any, name string) ei.Term {
	w.t.Helper()
	return w.call(p, "track", elixirName(w.presence), topic, key, map[ei.Atom]any{"name": name})
}

// events gives the changes on a topic, one at a time, as text.
func (w *world) events(p *pubsub.Presence, topic string) (next func() string) {
	pull, stop := iter.Pull2(pubsub.Watch[user](w.ctx(), p, topic))
	w.t.Cleanup(stop)
	return func() string {
		w.t.Helper()
		e, err, ok := pull()
		require.True(w.t, ok)
		require.NoError(w.t, err)
		require.NotEmpty(w.t, e.Meta.PhxRef)
		require.Equal(w.t, e.Kind == pubsub.Updated, e.Meta.PhxRefPrev != "" && e.Kind != pubsub.Left, "%v", e)
		return fmt.Sprintf("%s %s=%s", e.Kind, e.Key, e.Meta.Name)
	}
}

// Joins, updates and leaves on two nodes, some of them from before there was a Presence here.
func TestPresence(t *testing.T) {
	each(t, func(w *world) {
		for _, pool := range []int{1, 3} {
			w.t.Run(fmt.Sprintf("pool%d", pool), func(t *testing.T) {
				w := &world{t: t, lab: w.lab}
				w.start(pool)
				w.presences(pool)
			})
		}
	})
}

func (w *world) presences(pool int) {
	x, y := w.lab.peers[0], w.lab.peers[1]
	name := elixirName(w.presence)
	ann := w.track(x, "room:1", "ann", "Ann")
	w.track(y, "room:1", "bob", "Bob")
	w.track(x, "room:2", "ann", "Ann 2")
	p := w.follow(pool)
	w.eventually("ann=Ann bob=Bob", func() string { return seen(p, "room:1") })
	w.eventually("ann=Ann 2", func() string { return seen(p, "room:2") })
	next := w.events(p, "room:1")
	require.ElementsMatch(w.t, []string{"joined ann=Ann", "joined bob=Bob"}, []string{next(), next()})

	w.call(x, "update", name, ann, "room:1", "ann", map[ei.Atom]any{"name": "Anna"})
	require.Equal(w.t, "updated ann=Anna", next())
	carl := w.track(y, "room:1", 7, "Carl")
	require.Equal(w.t, "joined 7=Carl", next())
	w.call(y, "untrack", name, carl, "room:1", 7)
	require.Equal(w.t, "left 7=Carl", next())
	_, err := w.n.RPC(w.ctx(), x.name, "erlang", "exit", ann, ei.Atom("kill"))
	require.NoError(w.t, err)
	require.Equal(w.t, "left ann=Anna", next())
	require.Equal(w.t, "bob=Bob", seen(p, "room:1"))
	require.Equal(w.t, "ann=Ann 2", seen(p, "room:2"), "another process")

	// many come and go; in the end all see the same
	for _, of := range w.lab.peers {
		w.call(of, "churn", name, "crowd", 60)
	}
	for _, of := range w.lab.peers {
		w.eventually(w.listed(of, "crowd", 40), func() string { return seen(p, "crowd") })
	}
}

// listed is who is on a topic, as an Elixir node sees it once there are so many.
func (w *world) listed(p *peer, topic string, many int) (text string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		text = w.at(p, topic)
		return len(strings.Fields(text)) == many
	}, limit, tick)
	return text
}

// Those of a node that says nothing are hidden, and come back with it.
func TestPresenceSilence(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.track(x, "room", "ann", "Ann")
		w.track(y, "room", "bob", "Bob")
		p := w.follow(1)
		w.eventually("ann=Ann bob=Bob", func() string { return seen(p, "room") })
		next := w.events(p, "room")
		require.ElementsMatch(w.t, []string{"joined ann=Ann", "joined bob=Bob"}, []string{next(), next()})
		shard := elixirName(w.presence) + "_shard0"
		_, err := w.n.RPC(w.ctx(), y.name, "sys", "suspend", shard)
		require.NoError(w.t, err)
		require.Equal(w.t, "left bob=Bob", next())
		require.Equal(w.t, "ann=Ann", seen(p, "room"))
		_, err = w.n.RPC(w.ctx(), y.name, "sys", "resume", shard)
		require.NoError(w.t, err)
		require.Equal(w.t, "joined bob=Bob", next())
	})
}
