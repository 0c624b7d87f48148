package pubsub

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/stretchr/testify/require"
)

const tick = 5 * time.Millisecond

// A world is nodes in memory that find each other.
type world struct {
	*cluster.Cluster
	t   *testing.T
	all []*nodes.Node
}

func newWorld(t *testing.T) *world { return &world{Cluster: cluster.New(t), t: t} }

// member starts a node with a PubSub, and connects it to the others.
func (w *world) member(o *Options) (*nodes.Node, *PubSub) {
	w.t.Helper()
	var ps *PubSub
	cfg := w.Config(fmt.Sprintf("n%d@test", len(w.all)))
	cfg.Setup = func(n *nodes.Node) (err error) {
		ps, err = Start(w.t.Context(), n, "App.PubSub", o)
		return err
	}
	n := w.Start(cfg)
	for _, other := range w.all {
		_, err := n.Connect(expect.Context(w.t), other.Name())
		require.NoError(w.t, err)
	}
	w.all = append(w.all, n)
	return n, ps
}

// knows waits until a PubSub has so many members.
func knows(t *testing.T, ps *PubSub, members int) {
	t.Helper()
	require.Eventually(t, func() bool {
		count := 0
		for range ps.opts.Scope.Members(ps.groups[0]) {
			count++
		}
		return count == members
	}, expect.Limit, tick)
}

// two are two members that know each other.
func two(t *testing.T, o *Options) (w *world, a, b *PubSub) {
	t.Helper()
	w = newWorld(t)
	_, a = w.member(o)
	_, b = w.member(o)
	knows(t, a, 2)
	knows(t, b, 2)
	return w, a, b
}

// messages gives what comes on a topic, one at a time.
func messages[T any](t *testing.T, ps *PubSub, topic string) (next func() (T, error)) {
	t.Helper()
	pull, stop := iter.Pull2(Messages[T](expect.Context(t), ps, topic))
	t.Cleanup(stop)
	return func() (T, error) {
		v, err, ok := pull()
		require.True(t, ok)
		return v, err
	}
}

func gives[T any](t *testing.T, want T, next func() (T, error)) {
	t.Helper()
	got, err := next()
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func box(t *testing.T, n *nodes.Node, o *nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	b := cluster.Mailbox(t, n, o)
	return b
}

func TestBroadcast(t *testing.T) {
	for _, o := range []*Options{nil, {PoolSize: 3}, {PoolSize: 3, BroadcastPoolSize: 2}} {
		w, a, b := two(t, o)
		ctx := expect.Context(t)
		atA, atB := messages[string](t, a, "t"), messages[string](t, b, "t")
		other := messages[string](t, b, "u")
		require.NoError(t, a.Broadcast(ctx, "t", "one"))
		gives(t, "one", atA)
		gives(t, "one", atB)
		require.NoError(t, a.DirectBroadcast(ctx, "n1@test", "t", "two"))
		gives(t, "two", atB)
		require.NoError(t, a.DirectBroadcast(ctx, "n0@test", "t", "three"))
		gives(t, "three", atA)
		require.NoError(t, a.Broadcast(ctx, "u", "four"))
		gives(t, "four", other)
		for range 10 { // whichever member of the pool they belong to
			c := box(t, w.all[0], nil)
			require.NoError(t, a.Subscribe(c, "t"))
			require.NoError(t, a.BroadcastFrom(ctx, c, "t", "five"))
			gives(t, "five", atA)
			gives(t, "five", atB)
			require.NoError(t, b.Broadcast(ctx, "t", "six"))
			gives(t, "six", atA)
			gives(t, "six", atB)
			for m, err := range nodes.Messages[string](ctx, c) {
				require.NoError(t, err)
				require.Equal(t, "six", m)
				break
			}
			c.Close()
		}
		require.Error(t, a.Broadcast(ctx, "t", make(chan int)))
		require.Error(t, a.DirectBroadcast(ctx, "n1@test", "t", make(chan int)))
		require.ErrorIs(t, a.DirectBroadcast(ctx, "nobody@test", "t", 1), nodes.ErrNoConnection)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	}
}

// A Server is a subscriber, too: what is broadcast calls its functions.
func TestServerSubscribes(t *testing.T) {
	w, a, b := two(t, nil)
	got := make(chan string, 1)
	srv, err := w.all[1].Serve("srv", nodes.Server{On: map[string]nodes.Func{
		"note": nodes.FuncOf(func(text string) { got <- text }),
	}}, nil)
	require.NoError(t, err)
	require.NoError(t, b.Subscribe(srv, "t"))
	require.NoError(t, b.Subscribe(srv, "t"), "once more is the same")
	require.NoError(t, a.Broadcast(expect.Context(t), "t", ei.Tuple{ei.Atom("note"), ei.Binary("hi")}))
	require.Equal(t, "hi", expect.Returns(t, got))
	require.NoError(t, b.Unsubscribe(srv, "t"))
	require.NoError(t, b.Unsubscribe(srv, "t"), "nor is this an error")
	require.NoError(t, a.DirectBroadcast(expect.Context(t), "n1@test", "t", ei.Tuple{ei.Atom("note"), ei.Binary("no")}))
	require.NoError(t, b.Subscribe(srv, "u"))
	require.NoError(t, a.DirectBroadcast(expect.Context(t), "n1@test", "u", ei.Tuple{ei.Atom("note"), ei.Binary("u")}))
	require.Equal(t, "u", expect.Returns(t, got))
	srv.Close()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.subscribers) == 0 && len(b.topics) == 0
	}, expect.Limit, tick)
	require.ErrorAs(t, b.Subscribe(srv, "t"), new(*nodes.ExitError))
}

// One that does not read holds up nobody, and its loop ends at its limit.
func TestSlowSubscriber(t *testing.T) {
	_, a, b := two(t, &Options{Limit: 10_000})
	ctx := expect.Context(t)
	slow := Messages[int](ctx, b, "t") // nobody is in the loop
	quick := messages[int](t, b, "t")
	for i := range 500 {
		require.NoError(t, a.Broadcast(ctx, "t", i))
		gives(t, i, quick)
	}
	var exit *nodes.ExitError
	for _, err := range slow {
		require.ErrorAs(t, err, &exit)
	}
	require.NotNil(t, exit)
	require.Equal(t, ei.Atom("mailbox_full"), exit.Reason)
	for _, err := range slow {
		require.ErrorIs(t, err, nodes.ErrClosed, "it is for one loop")
	}
}

func TestMessagesEnd(t *testing.T) {
	w, _, b := two(t, nil)
	ctx, cancel := context.WithCancel(expect.Context(t))
	unread, read := Messages[int](ctx, b, "t"), Messages[int](ctx, b, "t")
	time.AfterFunc(tick, cancel)
	for _, err := range read {
		require.NoError(t, err, "the end of a context is none")
	}
	for _, err := range unread {
		require.NoError(t, err)
	}
	never := Messages[int](context.Background(), b, "t")
	for _, err := range Messages[chan int](context.Background(), b, "t") {
		require.ErrorAs(t, err, new(*ei.MappingError))
	}
	subscribed := Messages[int](context.Background(), b, "t")
	time.AfterFunc(tick, func() { b.Close() })
	for _, err := range subscribed {
		require.NoError(t, err, "nor is that of the PubSub")
	}
	for _, err := range never {
		require.ErrorIs(t, err, nodes.ErrClosed)
	}
	for _, err := range Messages[int](context.Background(), b, "t") {
		require.ErrorIs(t, err, nodes.ErrClosed)
	}
	c := box(t, w.all[1], nil)
	require.ErrorIs(t, b.Subscribe(c, "t"), nodes.ErrClosed)
	require.ErrorIs(t, b.Broadcast(expect.Context(t), "t", 1), nodes.ErrClosed)
	require.ErrorIs(t, b.Unsubscribe(c, "t"), nodes.ErrClosed)
}

func TestOptions(t *testing.T) {
	w := newWorld(t)
	n, ps := w.member(nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(over, n, "Other.PubSub", &Options{Scope: ps.opts.Scope})
	require.ErrorIs(t, err, context.Canceled)
	for _, o := range []*Options{{PoolSize: -1}, {PoolSize: maxPool + 1}, {PoolSize: 1, BroadcastPoolSize: 2}, {BroadcastPoolSize: -1}} {
		_, err := Start(t.Context(), n, "Other.PubSub", o)
		require.ErrorContains(t, err, "PoolSize")
	}
	_, err = Start(t.Context(), n, "", &Options{Scope: ps.opts.Scope})
	require.ErrorContains(t, err, "empty")
	_, err = Start(t.Context(), n, "App.PubSub", nil)
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	_, err = Start(t.Context(), n, "App.PubSub", &Options{Scope: ps.opts.Scope})
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	for _, name := range []string{"Other.PubSub", "my_pubsub"} {
		_, err = Start(t.Context(), n, name, &Options{Scope: ps.opts.Scope, PoolSize: 2})
		require.NoError(t, err)
	}
	require.NotNil(t, n.Whereis("Elixir.Other.PubSub.Adapter_2"))
	require.NotNil(t, n.Whereis("Elixir.my_pubsub.Adapter"))
	for _, o := range []*PresenceOptions{{PoolSize: -1}, {DownPeriod: time.Second}, {PermdownPeriod: time.Second}, {BroadcastPeriod: -1}} {
		_, err := ps.StartPresence(t.Context(), "App.Presence", o)
		require.Error(t, err)
	}
	_, err = ps.StartPresence(t.Context(), "", nil)
	require.ErrorContains(t, err, "empty")
	_ = presence(t, ps, nil)
	_, err = ps.StartPresence(t.Context(), "App.Presence", nil)
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	require.NotNil(t, n.Whereis("Elixir.App.Presence_shard0"))
}

// Processes that somebody kills are there again.
func TestKilled(t *testing.T) {
	w, a, b := two(t, nil)
	_ = presence(t, b, nil)
	ctx := expect.Context(t)
	at := messages[string](t, b, "t")
	killer := box(t, w.all[0], nil)
	for _, name := range []string{"Elixir.App.PubSub.Adapter", "Elixir.App.Presence_shard0", Scope} {
		pid := w.all[1].Whereis(name).Pid()
		require.NoError(t, killer.SendExit(ctx, pid, ei.Atom("kill")))
		require.Eventually(t, func() bool {
			now := w.all[1].Whereis(name)
			return now != nil && now.Pid() != pid
		}, expect.Limit, tick)
	}
	// what a broadcasts before it has heard of b's new processes goes to those that are gone
	heard := make(chan struct{})
	var again sync.WaitGroup
	again.Go(func() {
		for {
			_ = a.Broadcast(ctx, "t", "again")
			select {
			case <-heard:
				return
			case <-time.After(tick):
			}
		}
	})
	gives(t, "again", at)
	close(heard)
	again.Wait()
	require.NoError(t, b.Broadcast(ctx, "t", "from b"))
}

// A node that has ended has no room for a loop.
func TestMessagesAfterTheNode(t *testing.T) {
	n, ps := newWorld(t).member(nil)
	require.NoError(t, ps.Err())
	require.NoError(t, n.Close())
	<-ps.Done()
	require.Error(t, ps.Err())
	_, err := messages[string](t, ps, "t")()
	require.ErrorIs(t, err, nodes.ErrClosed)
	require.NoError(t, ps.Close())
	require.ErrorIs(t, ps.Err(), nodes.ErrClosed)
}

// A scope of the program's own serves several PubSubs, and outlives them.
func TestSharedScope(t *testing.T) {
	w := newWorld(t)
	n, first := w.member(nil)
	require.NoError(t, first.Close())
	scope, err := pg.Start(t.Context(), n, Scope, nil)
	require.NoError(t, err)
	for _, name := range []string{"A.PubSub", "B.PubSub"} {
		ps, err := Start(t.Context(), n, name, &Options{Scope: scope})
		require.NoError(t, err)
		next := messages[string](t, ps, "t")
		require.NoError(t, ps.Broadcast(expect.Context(t), "t", name))
		gives(t, name, next)
		require.NoError(t, ps.Close())
		<-ps.Done()
		require.ErrorIs(t, ps.Err(), nodes.ErrClosed)
	}
	require.NoError(t, scope.Err())
}
