package pubsub

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// quick has periods for tests.
func quick(pool int) *PresenceOptions {
	return &PresenceOptions{PoolSize: pool, BroadcastPeriod: 10 * time.Millisecond, DownPeriod: expect.Limit, PermdownPeriod: time.Hour}
}

// three are two Presences that know each other, and the first one's node.
func three(t *testing.T, pool int) (n *nodes.Node, a, b *Presence) {
	t.Helper()
	w, psA, psB := two(t, nil)
	a = presence(t, psA, quick(pool))
	b = presence(t, psB, quick(pool))
	return w.all[0], a, b
}

// Between programs like this one, in a pool of shards or not.
func TestTrack(t *testing.T) {
	for _, pool := range []int{1, 4} {
		n, a, b := three(t, pool)
		ctx, ann := expect.Context(t), box(t, n, nil)
		for _, topic := range []string{"room:1", "room:2", "room:3"} {
			require.NoError(t, a.Track(ctx, ann, topic, "ann", meta{1}))
			require.NoError(t, a.Track(ctx, ann, topic, "anna", map[ei.Atom]any{"n": 2}))
			require.Equal(t, "ann anna", keys(a, topic), "at once")
		}
		for _, topic := range []string{"room:1", "room:2", "room:3"} {
			shows(t, "ann anna", b, topic)
		}
		require.NoError(t, a.Untrack(ctx, ann, "room:1", "ann"))
		shows(t, "anna", b, "room:1")
		require.NoError(t, UpdateFunc(ctx, a, ann, "room:1", "anna", func(m meta) meta { return meta{m.N + 40} }))
		require.Eventually(t, func() bool {
			list, err := List[meta](b, "room:1")
			return err == nil && list[0].Meta.N == 42
		}, expect.Limit, tick)
		ann.Close()
		for _, topic := range []string{"room:1", "room:2", "room:3"} {
			shows(t, "", b, topic)
			shows(t, "", a, topic)
		}
		for _, s := range a.shards {
			s.process.Running.Lock()
			require.Empty(t, s.refs)
			require.Empty(t, s.byRef)
			require.Empty(t, s.pids)
			s.process.Running.Unlock()
		}
	}
}

func TestTrackErrors(t *testing.T) {
	n, a, b := three(t, 1)
	ctx, ann := expect.Context(t), box(t, n, nil)
	require.NoError(t, a.Track(ctx, ann, "room", "ann", meta{1}))
	err := a.Track(ctx, ann, "room", "ann", meta{1})
	require.ErrorIs(t, err, ErrAlreadyTracked)
	require.ErrorContains(t, err, "track ann on room")
	require.ErrorIs(t, a.Update(ctx, ann, "room", "bob", meta{1}), ErrNoPresence)
	require.ErrorIs(t, UpdateFunc(ctx, a, ann, "other", "ann", func(m meta) meta { return m }), ErrNoPresence)
	require.NoError(t, a.Untrack(ctx, ann, "other", "ann"))
	require.ErrorContains(t, a.Track(ctx, ann, "room", "bob", 7), "map")
	require.ErrorContains(t, a.Update(ctx, ann, "room", "ann", []int{7}), "map")
	require.Error(t, a.Track(ctx, ann, "room", "bob", make(chan int)))
	require.Error(t, UpdateFunc(ctx, a, ann, "room", "ann", func(chan int) chan int { return nil }))
	impossible := ei.Pid{Node: "x@h", ID: 1 << 30, Creation: 1}
	require.ErrorIs(t, a.Track(ctx, ann, "room", "bob", map[ei.Atom]any{"pid": impossible}), errImpossible)
	require.Error(t, a.Track(ctx, nil, "room", "bob", meta{1}))
	require.ErrorContains(t, b.Track(ctx, ann, "room", "bob", meta{1}), "not of this node")
	require.ErrorContains(t, b.UntrackAll(ctx, ann), "not of this node")
	ended := box(t, n, nil)
	ended.Close()
	require.ErrorAs(t, a.Track(ctx, ended, "room", "bob", meta{1}), new(*nodes.ExitError))
	require.NoError(t, a.UntrackAll(ctx, ended))
	require.Equal(t, "ann", keys(a, "room"))
	over, cancel := context.WithCancel(ctx)
	cancel()
	a.shards[0].process.Running.Lock()
	require.ErrorIs(t, a.Track(over, ann, "room", "bob", meta{1}), context.Canceled)
	a.shards[0].process.Running.Unlock()
	require.NoError(t, a.ps.Close())
	require.ErrorIs(t, a.Track(ctx, ann, "room", "bob", meta{1}), nodes.ErrClosed)
	require.ErrorIs(t, a.UntrackAll(ctx, ann), nodes.ErrClosed)
	shows(t, "", b, "room")
}

// A drain tells the others at once; what is tracked stays so here, and is nothing to them.
func TestTrackDrain(t *testing.T) {
	n, a, b := three(t, 1)
	ctx, ann := expect.Context(t), box(t, n, nil)
	require.NoError(t, a.Track(ctx, ann, "room", "ann", meta{1}))
	shows(t, "ann", b, "room")
	require.NoError(t, n.Drain(ctx))
	shows(t, "", b, "room")
	require.NoError(t, a.Track(ctx, ann, "room", "bob", meta{1}))
	require.Equal(t, "ann bob", keys(a, "room"))
	require.NoError(t, n.Shutdown(ctx))
	require.Equal(t, "", keys(b, "room"))
}

// Whoever ends the shard's process, nobody sees it.
func TestTrackKilled(t *testing.T) {
	n, a, b := three(t, 1)
	ctx, ann, bob := expect.Context(t), box(t, n, nil), box(t, n, nil)
	require.NoError(t, a.Track(ctx, ann, "room", "ann", meta{1}))
	require.NoError(t, a.Track(ctx, bob, "room", "bob", meta{1}))
	shows(t, "ann bob", b, "room")
	watched, stop := context.WithCancel(ctx)
	var events []string
	done := make(chan bool)
	go func() {
		defer close(done)
		for e, err := range Watch[meta](watched, b, "room") {
			if err == nil {
				events = append(events, e.Kind.String()+" "+e.Key)
			}
		}
	}()
	seen := func() { // what comes and goes before the loop looks, it does not see
		t.Helper()
		require.Eventually(t, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			for w := range b.watchers["room"] {
				return len(w.pending) == 0
			}
			return false
		}, expect.Limit, tick)
	}
	seen()
	for range 3 {
		was := a.shards[0].process.Mailbox()
		was.Exit(ei.Atom("kill"))
		<-was.Done()
	}
	require.NoError(t, a.Track(ctx, ann, "room", "carl", meta{1}))
	shows(t, "ann bob carl", b, "room")
	seen()
	bob.Close()
	shows(t, "ann carl", b, "room")
	seen()
	require.NoError(t, a.UntrackAll(ctx, ann))
	shows(t, "", b, "room")
	seen()
	stop()
	<-done
	require.Len(t, events, 6, strings.Join(events, ", "))
}

// What only another worker says is nobody else's to say: neither a peer, past the PubSub or through
// it, nor one that has no part in it.
func TestHostileTrack(t *testing.T) {
	n, a, b := three(t, 1)
	ctx, ann := expect.Context(t), box(t, n, nil)
	require.NoError(t, a.Track(ctx, ann, "room", "ann", meta{1}))
	s := a.shards[0]
	require.Eventually(t, func() bool { // between two errands, which read what is set here
		s.process.Running.Lock()
		defer s.process.Running.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(s.errands) > 0 {
			return false
		}
		s.isWorker, s.leads = true, true
		return true
	}, expect.Limit, tick)
	hostile := box(t, b.ps.n, nil)
	k, _ := ei.Append(nil, "eve")
	says := workerSays{Shard: hostile.Pid(), Entries: []workerEntry{{Topic: "room", Pid: hostile.Pid(), Key: k, Meta: raw(t, meta{1})}}}
	require.NoError(t, b.ps.Broadcast(ctx, shardTopic, says))
	require.NoError(t, hostile.SendName(ctx, n.Name(), "Elixir.App.Presence_shard0", says))
	for range 100 { // as many answers as it likes
		require.NoError(t, b.ps.Broadcast(ctx, shardTopic, &saying{
			kind: transferReq, from: replica{Node: ei.Atom(b.ps.n.Name()), Vsn: 1}, ref: ei.Ref{Node: "x", Creation: 1, Len: 1},
			clocks: contextOf{a.shards[0].me: 0},
		}))
	}
	require.NoError(t, a.Track(ctx, ann, "room", "bob", meta{1}))
	shows(t, "ann bob", b, "room")
	require.Equal(t, "ann bob", keys(a, "room"))
	a.mu.Lock()
	defer a.mu.Unlock()
	require.LessOrEqual(t, len(a.shards[0].asked), 1)
}

// Others that do not read hold up nobody.
func TestTrackSlow(t *testing.T) {
	w, psA, psB := two(t, nil)
	a := presence(t, psA, quick(1))
	b := presence(t, psB, quick(1))
	n := w.all[0]
	ctx, ann := expect.Context(t), box(t, n, nil)
	require.NoError(t, a.Track(ctx, ann, "room", "ann", meta{1}))
	shows(t, "ann", b, "room")
	deaf := w.New(w.Config("deaf@test"))
	c, err := deaf.Connect(ctx, n.Name()) // a member that nobody receives for
	require.NoError(t, err)
	require.NoError(t, c.SendName(ctx, Scope, ei.Tuple{ei.Atom("discover"), c.Self()}))
	group := a.ps.groups[0]
	require.NoError(t, c.SendName(ctx, Scope, ei.Tuple{ei.Atom("sync"), c.Self(), ei.List{ei.Tuple{group, ei.List{c.Self()}}}}))
	require.Eventually(t, func() bool { return slices.Contains(slices.Collect(a.ps.opts.Scope.Members(group)), c.Self()) }, expect.Limit, tick)
	err = a.ps.BroadcastFrom(transport.NoWait(), ann, "t", strings.Repeat("x", 1000))
	for err == nil {
		err = a.ps.BroadcastFrom(transport.NoWait(), ann, "t", strings.Repeat("x", 1<<20))
	}
	for i := range 100 {
		require.NoError(t, a.Update(ctx, ann, "room", "ann", meta{i}))
	}
	require.Eventually(t, func() bool {
		list, err := List[meta](b, "room")
		return err == nil && len(list) == 1 && list[0].Meta.N == 99
	}, expect.Limit, tick)
}

// What a replica has asked makes the node connect to nobody.
func TestReplicasDoNotConnect(t *testing.T) {
	_, a, b := three(t, 1)
	n, other := a.ps.n, b.ps.n.Name()
	require.NoError(t, a.shards[0].sendNow(errand{ei.Atom(other), transferReq}))
	c := n.Conn(other)
	require.NoError(t, c.Close())
	expect.Returns(t, c.Done())
	require.ErrorIs(t, a.shards[0].sendNow(errand{ei.Atom(other), transferReq}), nodes.ErrNoConnection)
}
