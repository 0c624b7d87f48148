package pubsub

import (
	"context"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

const shardTopic = "phx_presence:Elixir.App.Presence_shard0"

// A trackerOf is a tracker on a node, and the process that speaks for it.
type trackerOf struct {
	t  *testing.T
	ps *PubSub
	*tracker
}

func startTracker(t *testing.T, n *nodes.Node, ps *PubSub) *trackerOf {
	return &trackerOf{t, ps, newReplica(n.Name(), time.Now().UnixMicro())}
}

func (w *trackerOf) join(topic, key string) { w.track(1, topic, key, 1) }

func presence(t *testing.T, ps *PubSub, o *PresenceOptions) *Presence {
	t.Helper()
	p, err := ps.StartPresence(t.Context(), "App.Presence", o)
	require.NoError(t, err)
	return p
}

// answer answers the next request.
func (w *trackerOf) answer(requests func() (ei.Term, error)) {
	w.t.Helper()
	for {
		asked, err := requests()
		require.NoError(w.t, err)
		var r struct {
			_    struct{} `ei:"tuple=pub"`
			What ei.Atom
			Ref  ei.Ref
			From replica
			At   struct {
				_       struct{} `ei:"tuple"`
				Replica replica
				Clocks  map[replica]uint64
			}
		}
		if ei.UnmarshalTerm(asked, &r) == nil && r.What == ei.Atom(transferReq) {
			raw := w.answers(r.At.Clocks).term(w.t)
			require.NoError(w.t, w.ps.DirectBroadcast(expect.Context(w.t), string(r.From.Node), shardTopic, raw))
			return
		}
	}
}

func (w *trackerOf) beat() {
	w.t.Helper()
	require.NoError(w.t, w.ps.Broadcast(expect.Context(w.t), shardTopic, w.speak(time.Now(), 0).term(w.t)))
}

type meta struct{ N int }

func keys(p *Presence, topic string) string {
	list, err := List[meta](p, topic)
	var all []string
	for _, one := range list {
		all = append(all, one.Key)
	}
	if err != nil {
		all = append(all, err.Error())
	}
	return strings.Join(all, " ")
}

func shows(t *testing.T, want string, p *Presence, topic string) {
	t.Helper()
	if !assertEventually(func() bool { return keys(p, topic) == want }) {
		require.Equal(t, want, keys(p, topic))
	}
}

func assertEventually(f func() bool) bool {
	for end := time.Now().Add(expect.Limit); time.Now().Before(end); time.Sleep(tick) {
		if f() {
			return true
		}
	}
	return false
}

// What another node tracks is asked for at once, and what it says afterwards is followed.
func TestPresence(t *testing.T) {
	w, a, b := two(t, nil)
	requests := messages[ei.Term](t, b, shardTopic)
	tracker := startTracker(t, w.all[1], b)
	tracker.join("room", "ann")
	tracker.join("room", "bob")
	tracker.join("other", "ann")
	tracker.speak(time.Now(), 0) // nobody hears
	p, err := a.StartPresence(t.Context(), "App.Presence", &PresenceOptions{
		BroadcastPeriod: 20 * time.Millisecond, DownPeriod: expect.Limit, PermdownPeriod: time.Hour,
	})
	require.NoError(t, err)
	tracker.answer(requests) // who are you?
	tracker.answer(requests) // and what do you know?
	shows(t, "ann bob", p, "room")
	shows(t, "ann", p, "other")
	next, stop := iter.Pull2(Watch[meta](expect.Context(t), p, "room"))
	defer stop()
	event := func() string {
		t.Helper()
		e, err, ok := next()
		require.True(t, ok)
		require.NoError(t, err)
		require.Equal(t, ei.Atom("n1@test"), e.Pid.Node)
		require.NotZero(t, e.Meta.N)
		return e.Kind.String() + " " + e.Key
	}
	require.ElementsMatch(t, []string{"joined ann", "joined bob"}, []string{event(), event()})
	tracker.join("room", "ann")
	tracker.join("room", "carl")
	tracker.beat()
	require.ElementsMatch(t, []string{"updated ann", "joined carl"}, []string{event(), event()})
	for i, e := range tracker.own() {
		if e.topic == "room" {
			tracker.leave(i)
		}
	}
	tracker.join("room", "dora")
	tracker.beat()
	require.ElementsMatch(t, []string{"left ann", "left bob", "left carl", "joined dora"}, []string{event(), event(), event(), event()})
	p.mu.Lock()
	p.shards[0].replicas["n1@test"].heard = time.Now().Add(-p.opts.DownPeriod)
	p.mu.Unlock()
	require.Equal(t, "left dora", event(), "it has been silent for that long")
	tracker.beat()
	require.Equal(t, "joined dora", event())
	tracker.join("room", "erik")
	tracker.speak(time.Now(), 0) // nobody hears
	for range 2 {                // its clock is ahead
		tracker.beat()
	}
	tracker.answer(requests)
	require.Equal(t, "joined erik", event())
	require.NoError(t, b.Broadcast(expect.Context(t), shardTopic, (&saying{kind: gracefulPermdown, from: tracker.me}).term(t)))
	require.ElementsMatch(t, []string{"left dora", "left erik"}, []string{event(), event()})
	require.NoError(t, a.Close())
	_, err, more := next()
	require.NoError(t, err)
	require.False(t, more)
}

// Who says seldom that it is there is not taken for gone meanwhile.
func TestPresencePeriods(t *testing.T) {
	_, a, _ := two(t, nil)
	for period, want := range map[time.Duration][2]time.Duration{
		0:               {30 * time.Second, 20 * time.Minute},
		5 * time.Second: {100 * time.Second, 20 * time.Minute},
		time.Minute:     {20 * time.Minute, 40 * time.Minute},
	} {
		o := &PresenceOptions{BroadcastPeriod: period}
		p, err := a.StartPresence(t.Context(), "App."+period.String(), o)
		require.NoError(t, err)
		require.Equal(t, want, [2]time.Duration{p.opts.DownPeriod, p.opts.PermdownPeriod})
	}
}

// A Presence that fails half-way leaves nothing behind, and can be started later.
func TestPresenceHalfStarted(t *testing.T) {
	w, a, _ := two(t, nil)
	other := box(t, w.all[0], nil)
	require.NoError(t, w.all[0].Register(t.Context(), "Elixir.App.Presence_shard1", other))
	_, err := a.StartPresence(t.Context(), "App.Presence", quick(2))
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	require.Nil(t, w.all[0].Whereis("Elixir.App.Presence_shard0"))
	other.Close()
	_ = presence(t, a, quick(2))
}

// A meta that does not fit is an error beside the others.
func TestPresenceMisfits(t *testing.T) {
	_, a, b := two(t, nil)
	p := presence(t, a, nil)
	me := replica{Node: "n1@test", Vsn: 1}
	s := &saying{kind: heartbeat, from: me, clocks: contextOf{me: 2}, delta: &delta{
		clouds: map[replica]cloud{me: {1: {}, 2: {}}}, values: []*entry{someEntry(me, 1, "room", "ann"), someEntry(me, 2, "room", "bob")}}}
	s.delta.values[0].meta = raw(t, ei.Atom("odd"))
	require.NoError(t, b.Broadcast(expect.Context(t), shardTopic, s.term(t)))
	require.Eventually(t, func() bool {
		list, err := List[ei.Term](p, "room")
		return err == nil && len(list) == 2
	}, expect.Limit, tick)
	list, err := List[meta](p, "room")
	require.ErrorAs(t, err, new(*ei.UnmarshalError))
	require.ErrorContains(t, err, "ann")
	require.Len(t, list, 1)
	ctx, cancel := context.WithCancel(expect.Context(t))
	defer cancel()
	seen := map[string]bool{}
	for e, err := range Watch[meta](ctx, p, "room") {
		require.Equal(t, e.Key == "ann", err != nil)
		if seen[e.Key] = true; len(seen) == 2 {
			cancel()
		}
	}
}

func TestKeyText(t *testing.T) {
	for text, want := range map[string]string{
		`<<"ann">>`: "ann", `7`: "7", `ann`: "ann", `"ann"`: "ann", `{a, <<"b">>}`: `{:a, "b"}`, `1.5`: "1.5", `[]`: "",
	} {
		require.Equal(t, want, keyText(raw(t, term(t, text))), text)
	}
}

// What no member of a PubSub sends changes nothing, and costs nothing that stays.
func TestHostile(t *testing.T) {
	w, a, b := two(t, &Options{PoolSize: 2})
	p := presence(t, b, nil)
	hostile := box(t, w.all[0], nil)
	ctx := expect.Context(t)
	at := messages[int](t, b, "t")
	names := []string{"Elixir.App.PubSub.Adapter", "Elixir.App.PubSub.Adapter_2", "Elixir.App.Presence_shard0"}
	deep := ei.Term(ei.Atom("x"))
	for range 10_000 {
		deep = ei.Tuple{deep}
	}
	forward := func(topic string, message any) ei.Raw {
		raw, err := appendForward(topic, message, plain)
		require.NoError(t, err)
		return raw
	}
	stranger := replica{Node: "nobody@nowhere", Vsn: 1}
	a0 := replica{Node: "n0@test", Vsn: 1}
	for _, m := range []any{
		deep, ei.Atom("forward_to_local"), ei.Tuple{ei.Atom("forward_to_local"), ei.Atom("t"), ei.Int(1), plain},
		ei.Tuple{ei.Atom("forward_to_local"), ei.Binary("t"), ei.Int(1), ei.Int(2)}, forward("t", deep), forward("", "x"),
		forward(shardTopic, deep), forward(shardTopic, (&saying{kind: heartbeat, from: stranger, clocks: contextOf{stranger: 9}}).term(t)),
		forward(shardTopic, (&saying{kind: transferAck, from: stranger, delta: &delta{context: contextOf{stranger: 9}}}).term(t)),
		(&saying{kind: transferAck, from: stranger, delta: &delta{context: contextOf{stranger: 9}}}).term(t),
		forward(shardTopic, (&saying{kind: heartbeat, from: a0, clocks: contextOf{a0: 1, stranger: 1}, delta: &delta{
			clouds: map[replica]cloud{stranger: {1: {}}}, values: []*entry{someEntry(stranger, 1, "room", "ann")}}}).term(t)),
	} {
		for _, name := range names {
			require.NoError(t, hostile.SendName(ctx, "n1@test", name, m))
		}
	}
	require.Equal(t, "", keys(p, "room"))
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 { // bits that are not as they were
		kinds := sayings("n0@test")
		raw := forward(shardTopic, kinds[r.IntN(len(kinds))].term(t))
		raw[r.IntN(len(raw))] ^= 1 << r.IntN(8)
		if _, err := raw.Decode(); err == nil { // else it is no message at all
			require.NoError(t, hostile.SendName(ctx, "n1@test", names[r.IntN(2)], raw))
		}
	}
	require.NoError(t, a.Broadcast(ctx, "t", 7))
	gives(t, 7, at)
	require.Nil(t, w.all[1].Conn("nobody@nowhere"))
	p.mu.Lock()
	defer p.mu.Unlock()
	for node := range p.shards[0].replicas {
		require.Equal(t, ei.Atom("n0@test"), node)
	}
}

// A node speaks for its own replica only.
func TestPresenceOfAnother(t *testing.T) {
	w, a, b := two(t, nil)
	_, c := w.member(nil)
	for _, ps := range []*PubSub{a, b, c} {
		knows(t, ps, 3)
	}
	requests := messages[ei.Term](t, b, shardTopic)
	p := presence(t, a, nil)
	tracker := startTracker(t, w.all[1], b)
	tracker.join("room", "ann")
	tracker.answer(requests)
	tracker.answer(requests)
	shows(t, "ann", p, "room")
	hostile := box(t, w.all[2], nil)
	next := replica{Node: tracker.me.Node, Vsn: tracker.me.Vsn + 1}
	for _, said := range []*saying{
		{kind: gracefulPermdown, from: tracker.me},
		{kind: heartbeat, from: next, clocks: contextOf{next: 1}},
		{kind: transferAck, from: next, delta: &delta{context: contextOf{next: 1}}},
		{kind: transferAck, from: tracker.me, delta: &delta{context: contextOf{tracker.me: 9}}},
		{kind: heartbeat, from: tracker.me, clocks: contextOf{}, delta: &delta{context: contextOf{tracker.me: 9}}},
	} {
		raw := said.term(t)
		require.NoError(t, c.BroadcastFrom(expect.Context(t), hostile, shardTopic, raw))
		require.NoError(t, hostile.SendName(expect.Context(t), "n0@test", "Elixir.App.Presence_shard0", raw))
	}
	at := messages[int](t, a, "t")
	require.NoError(t, c.BroadcastFrom(expect.Context(t), hostile, "t", 7))
	gives(t, 7, at) // so the PubSub has taken all of it
	tracker.join("room", "bob")
	tracker.beat()
	shows(t, "ann bob", p, "room")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(t, tracker.me.Vsn, p.shards[0].replicas[tracker.me.Node].vsn)
}
