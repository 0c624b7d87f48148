package pubsub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/stretchr/testify/require"
)

// term encodes what a replica says as Phoenix.Tracker does.
func (s *saying) term(t testing.TB) ei.Raw {
	t.Helper()
	parts := ei.Tuple{ei.Atom("pub"), ei.Atom(s.kind)}
	switch s.kind {
	case heartbeat:
		var what ei.Term = ei.Atom("empty")
		if s.delta != nil {
			what = s.delta.term(t)
		}
		parts = append(parts, s.from.term(), what, ei.Tuple{s.from.term(), raw(t, map[replica]uint64(s.clocks))})
	case transferAck:
		parts = append(parts, ei.Int(0), s.from.term(), s.delta.term(t))
	case gracefulPermdown:
		parts = append(parts, s.from.term())
	}
	return raw(t, parts)
}

func raw(t testing.TB, v any) ei.Raw {
	t.Helper()
	b, err := ei.Append(nil, v)
	require.NoError(t, err)
	return b
}

func (r replica) term() ei.Term { return ei.Tuple{r.Node, ei.Int(r.Vsn)} }

// term encodes a delta, or with a context a state and its values.
func (d *delta) term(t testing.TB) ei.Term {
	t.Helper()
	values := map[tag]wireValue{}
	for _, e := range d.values {
		values[e.tag] = wireValue{Pid: e.pid, Topic: e.topic, Key: ei.Raw(e.key), Meta: e.meta}
	}
	clouds := map[replica]elixir.MapSet[tag]{}
	for r, cloud := range d.clouds {
		set := elixir.NewMapSet[tag]()
		for c := range cloud {
			set.Add(tag{Replica: r, Clock: c})
		}
		clouds[r] = set
	}
	state := wireState{Mode: "delta", Context: raw(t, map[replica]uint64(d.context)), Clouds: clouds, Values: raw(t, values)}
	if len(d.context) == 0 {
		return raw(t, state)
	}
	state.Mode, state.Values = "normal", raw(t, ei.Atom("nil"))
	return ei.Tuple{raw(t, state), raw(t, values)}
}

// sayings are messages of each kind.
func sayings(node ei.Atom) []*saying {
	a := replica{Node: node, Vsn: 1}
	return []*saying{
		{kind: heartbeat, from: a, clocks: contextOf{a: 0}},
		{kind: heartbeat, from: a, clocks: contextOf{a: 3}, delta: &delta{
			clouds: map[replica]cloud{a: {2: {}, 3: {}}}, values: []*entry{someEntry(a, 3, "room", "ann")}}},
		{kind: transferAck, from: a, delta: &delta{
			context: contextOf{a: 7}, clouds: map[replica]cloud{a: {9: {}}}, values: []*entry{someEntry(a, 9, "room", "ann")}}},
		{kind: gracefulPermdown, from: a},
		{kind: transferReq, from: a, clocks: contextOf{a: 3}, ref: ei.Ref{Node: node, Creation: 1, Len: 1}},
	}
}

func someEntry(r replica, clock uint64, topic, key string) *entry {
	k, _ := ei.Append(nil, key)
	meta, _ := ei.Append(nil, map[ei.Atom]uint64{"n": clock})
	return &entry{id{topic, ei.Pid{Node: r.Node, ID: 1, Creation: 1}, string(k)}, meta, tag{Replica: r, Clock: clock}}
}

// What is said is read as it was, whether a Phoenix.Tracker says it or this package.
func TestSayings(t *testing.T) {
	for _, s := range sayings("a@h") {
		if s.delta != nil && s.delta.context == nil {
			s.delta.context = contextOf{}
		}
		if s.kind != transferReq {
			got, err := parseSaying(s.term(t))
			require.NoError(t, err, s.kind)
			require.Equal(t, s, got)
		}
		if s.delta != nil {
			s.delta.isState = len(s.delta.context) > 0
		}
		if s.kind == transferAck {
			s.ref = ei.Ref{Node: "a@h", Creation: 1, Len: 1}
		}
		got, err := parseSaying(raw(t, s))
		require.NoError(t, err, s.kind)
		if s.delta != nil {
			s.delta.isState, s.ref = false, ei.Ref{}
		}
		require.Equal(t, s, got)
	}
}

// Every field of the structs is there, as Elixir has it: it matches on them.
func TestTerms(t *testing.T) {
	s := newReplica("a@h", 1)
	s.track(1, "room", "x", 7)
	for want, d := range map[string]*delta{
		`#{'__struct__' => 'Elixir.Phoenix.Tracker.State',clouds => #{{a@h,1} => #{'__struct__' => 'Elixir.MapSet',` +
			`map => #{{{a@h,1},1} => []}}},context => #{},delta => unset,mode => delta,pids => nil,range => {#{{a@h,1} => 0},` +
			`#{{a@h,1} => 1}},replica => {a@h,1},replicas => #{},values => #{{{a@h,1},1} => {#Pid<a@h.1.0.1>,<<"room">>,` +
			`<<"x">>,#{n => 7}}}}`: s.since(0),
		`{#{'__struct__' => 'Elixir.Phoenix.Tracker.State',clouds => #{},context => #{{a@h,1} => 1},delta => unset,mode => normal,` +
			`pids => nil,range => {#{},#{}},replica => {a@h,1},replicas => #{{a@h,1} => up},values => nil},` +
			`#{{{a@h,1},1} => {#Pid<a@h.1.0.1>,<<"room">>,<<"x">>,#{n => 7}}}}`: s.state(),
	} {
		got, err := raw(t, d).Decode()
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprint(sorted(got)))
	}
}

// sorted has the keys of maps in order.
func sorted(t ei.Term) ei.Term {
	switch t := t.(type) {
	case ei.Map:
		m := slices.Clone(t)
		for i, p := range m {
			m[i].Value = sorted(p.Value)
		}
		slices.SortFunc(m, func(a, b ei.Pair) int { return ei.Compare(a.Key, b.Key) })
		return m
	case ei.Tuple:
		all := slices.Clone(t)
		for i, e := range all {
			all[i] = sorted(e)
		}
		return all
	}
	return t
}

// A meta gets phx_ref and phx_ref_prev as Phoenix.Tracker puts them: over its own, if it has some.
func TestRefs(t *testing.T) {
	type meta struct {
		N          int
		PhxRef     string
		PhxRefPrev string `ei:",omitempty"`
	}
	refsOf := func(b ei.Raw) (m meta) {
		t.Helper()
		require.NoError(t, b.Unmarshal(&m))
		return m
	}
	first, err := withRefs(raw(t, map[ei.Atom]any{"n": 1, "phx_ref": "mine"}), nil)
	require.NoError(t, err)
	one := refsOf(first)
	require.Regexp(t, "^[A-Za-z0-9_-]{16}$", one.PhxRef)
	second, err := withRefs(first, first)
	require.NoError(t, err)
	two := refsOf(second)
	require.NotEqual(t, one.PhxRef, two.PhxRef)
	require.Equal(t, meta{1, two.PhxRef, one.PhxRef}, two)
	third, err := withRefs(second, second)
	require.NoError(t, err)
	require.Equal(t, meta{1, refsOf(third).PhxRef, two.PhxRef}, refsOf(third))
	third, err = withRefs(second, nil)
	require.NoError(t, err)
	require.Equal(t, one.PhxRef, refsOf(third).PhxRefPrev, "track leaves it")
	for _, bad := range []any{ei.Atom("a"), []int{1}, ei.Raw{116}} {
		b, _ := ei.Append(nil, bad)
		_, err = withRefs(b, nil)
		require.Error(t, err)
	}
}

// What no tracker says is refused, whole.
func TestNotSayings(t *testing.T) {
	const state = `#{'__struct__' => 'Elixir.Phoenix.Tracker.State', mode => delta, context => #{}, clouds => %s, values => %s}`
	for _, text := range []string{
		`pub`, `{pub}`, `{pub, heartbeat}`, `{pub, heartbeat, {a, 1}, empty}`, `{pub, heartbeat, {a, 1}, empty, {{a, 1}, []}}`,
		`{pub, heartbeat, a, empty, {{a, 1}, #{}}}`, `{pub, heartbeat, {a, 1}, full, {{a, 1}, #{}}}`,
		`{bup, heartbeat, {a, 1}, empty, {{a, 1}, #{}}}`,
		`{pub, heartbeat, {a, 1}, empty, {{a, 1}, #{{a, 1} => -1}}}`, `{pub, heartbeat, {<<"a">>, 1}, empty, {{a, 1}, #{}}}`,
		`{pub, transfer_req, 1, {a, 1}, {{a, 1}, #{}}}`,
		`{pub, graceful_permdown, {a, 1}, more}`, `{pub, graceful_permdown, {a}}`, `{pub, other, 1}`,
		`{pub, transfer_ack, 1, {a, 1}, {1, 2, 3}}`, `{pub, transfer_ack, 1, {a, 1}, {}}`, `{pub, transfer_ack, 1, {a, 1}, #{}}`,
		`{pub, heartbeat, {a, 123456789012345678901234567890}, empty, {{a, 1}, #{}}}`,
	} {
		_, err := parseSaying(raw(t, term(t, text)))
		require.ErrorIs(t, err, errSaying, text)
	}
	for clouds, values := range map[string]string{
		`#{{a, 1} => #{'__struct__' => 'Elixir.MapSet', map => #{{{b, 1}, 1} => []}}}`:                    `#{}`,
		`#{{a, 1} => #{'__struct__' => 'Elixir.MapSet', map => #{{{a, 1}, 0} => []}}}`:                    `#{}`,
		`#{{a, 1} => #{'__struct__' => 'Elixir.MapSet', map => #{{{a, 1}, 18446744073709551615} => []}}}`: `#{}`,
		`#{}`: `#{{{a, 1}, 0} => {1, <<"t">>, k, m}}`,
		`[]`:  `#{}`,
	} {
		text := `{pub, transfer_ack, 1, {a, 1}, ` + sprintf(state, clouds, values) + `}`
		_, err := parseSaying(raw(t, term(t, text)))
		require.ErrorIs(t, err, errSaying, text)
	}
}
