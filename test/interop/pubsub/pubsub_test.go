package pubsub

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A note is what the nodes tell each other.
type note struct {
	_    struct{} `ei:"tuple=note"`
	Text string
	N    int
}

func noteOf(text string, n int) note { return note{Text: text, N: n} }

// subscribed gives the messages on a topic, one at a time.
func subscribed[T any](w *world, topic string) (next func() T) {
	w.t.Helper()
	pull, stop := iter.Pull2(pubsub.Messages[T](w.ctx(), w.ps, topic))
	w.t.Cleanup(stop)
	return func() T {
		w.t.Helper()
		v, err, ok := pull()
		require.True(w.t, ok)
		require.NoError(w.t, err)
		return v
	}
}

// next is what the subscriber of a node gets next.
func (w *world) next(p *peer, subscriber ei.Term) string {
	w.t.Helper()
	return w.call(p, "next", subscriber).String()
}

func sorted(notes ...note) []note {
	slices.SortFunc(notes, func(a, b note) int { return a.N - b.N })
	return notes
}

func TestBroadcast(t *testing.T) {
	each(t, func(w *world) {
		for _, pool := range []int{1, 4} {
			w.t.Run(fmt.Sprintf("pool%d", pool), func(t *testing.T) {
				w := &world{t: t, lab: w.lab}
				w.start(pool)
				broadcasts(w)
			})
		}
	})
}

func broadcasts(w *world) {
	name := elixirName(w.pubsub)
	x, y := w.lab.peers[0], w.lab.peers[1]
	atX, atY := w.call(x, "subscribe", name, "notes"), w.call(y, "subscribe", name, "notes")
	here, alsoHere := subscribed[note](w, "notes"), subscribed[ei.Term](w, "notes")
	elsewhere := subscribed[note](w, "other")

	// from here, from a subscriber here, and from there
	box, err := w.n.NewMailbox(nil)
	require.NoError(w.t, err)
	require.NoError(w.t, w.ps.Subscribe(box, "notes"))
	for _, step := range []struct {
		want note
		send func(note)
	}{
		{noteOf("all", 1), func(m note) { require.NoError(w.t, w.ps.Broadcast(w.ctx(), "notes", m)) }},
		{noteOf("others", 2), func(m note) { require.NoError(w.t, w.ps.BroadcastFrom(w.ctx(), box, "notes", m)) }},
		{noteOf("x", 3), func(m note) { w.call(x, "broadcast", name, "notes", m) }},
	} {
		step.send(step.want)
		require.Equal(w.t, step.want, here())
		text := fmt.Sprintf("{note,<<%q>>,%d}", step.want.Text, step.want.N)
		require.Equal(w.t, text, alsoHere().String())
		require.Equal(w.t, text, w.next(x, atX))
		require.Equal(w.t, text, w.next(y, atY))
	}
	var own []note
	for m, err := range nodes.Messages[note](w.ctx(), box) {
		require.NoError(w.t, err)
		if own = append(own, m); len(own) == 2 {
			break
		}
	}
	require.Equal(w.t, []note{noteOf("all", 1), noteOf("x", 3)}, own, "not what it has sent itself")

	// to one node
	require.NoError(w.t, w.ps.DirectBroadcast(w.ctx(), y.name, "notes", noteOf("y", 4)))
	require.NoError(w.t, w.ps.DirectBroadcast(w.ctx(), w.n.Name(), "notes", noteOf("go", 5)))
	w.call(x, "direct", ei.Atom(w.n.Name()), name, "notes", noteOf("go", 6))
	require.NoError(w.t, w.ps.Broadcast(w.ctx(), "notes", noteOf("all", 7)))
	require.Equal(w.t, []note{noteOf("go", 5), noteOf("go", 6), noteOf("all", 7)}, sorted(here(), here(), here()))
	require.Contains(w.t, w.next(y, atY), "<<\"y\">>")
	require.Contains(w.t, w.next(y, atY), ",7}")
	require.Contains(w.t, w.next(x, atX), ",7}")

	// topics are text of any kind, and what does not fit is skipped
	w.call(x, "broadcast", name, "other", ei.Atom("no_note"))
	w.call(x, "broadcast", name, "other", noteOf("Ünï", 8))
	require.Equal(w.t, noteOf("Ünï", 8), elsewhere())
}

// A payload is what a browser gets.
type payload struct{ Text string }

// Phoenix.Endpoint.broadcast pushes to browsers, and so does Push.
func TestPush(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		name, x := elixirName(w.pubsub), w.lab.peers[0]
		browser := w.call(x, "subscribe", name, "room:1")
		here := subscribed[pubsub.Push[payload]](w, "room:1")
		require.NoError(w.t, w.ps.Push(w.ctx(), "room:1", "new_msg", payload{"hi"}))
		require.Equal(w.t, `{to_browser,<<"room:1">>,<<"new_msg">>,#{text => <<"hi">>}}`, w.next(x, browser))
		require.Equal(w.t, pubsub.Push[payload]{Topic: "room:1", Event: "new_msg", Payload: payload{"hi"}}, here())
		w.call(x, "push", name, "room:1", "typing", payload{"x"})
		require.Equal(w.t, `{to_browser,<<"room:1">>,<<"typing">>,#{text => <<"x">>}}`, w.next(x, browser))
		require.Equal(w.t, pubsub.Push[payload]{Topic: "room:1", Event: "typing", Payload: payload{"x"}}, here())
	})
}

// Nobody broadcasts to a node that drains; it still does itself, also to its own subscribers.
func TestDrain(t *testing.T) {
	each(t, func(w *world) {
		w.start(2)
		name := elixirName(w.pubsub)
		x, y := w.lab.peers[0], w.lab.peers[1]
		at, here := w.call(y, "subscribe", name, "notes"), subscribed[note](w, "notes")
		require.NoError(w.t, w.n.Drain(w.ctx()))
		for _, p := range w.lab.peers {
			w.hasMembers(p, len(w.lab.peers))
		}
		w.call(x, "broadcast", name, "notes", noteOf("x", 1))
		require.Contains(w.t, w.next(y, at), ",1}")
		require.NoError(w.t, w.ps.Broadcast(w.ctx(), "notes", noteOf("go", 2)))
		require.Contains(w.t, w.next(y, at), ",2}")
		require.Equal(w.t, noteOf("go", 2), here(), "and not the one before")
		w.call(x, "direct", ei.Atom(w.n.Name()), name, "notes", noteOf("go", 3))
		require.Equal(w.t, noteOf("go", 3), here(), "it serves on")
	})
}
