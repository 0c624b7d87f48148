package pg

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

const tick = time.Millisecond

// room is a limit for so many groups named by a number, with one member each.
func room(t *testing.T, groups int) *Options {
	return &Options{Limit: groups * (groupCost + len(keyFor(t, 1)) + memberCost)}
}

func numbers(from, to int) (all []ei.Term) {
	for i := from; i < to; i++ {
		all = append(all, ei.Int(i))
	}
	return all
}

// wholeOf is a whole of groups that have one member.
func wholeOf(self ei.Pid, groups []ei.Term, members ...ei.Pid) ei.Term {
	list := ei.List{}
	for _, g := range groups {
		list = append(list, ei.Tuple{g, listOf(members)})
	}
	return cast(ei.Tuple{ei.Atom("sync"), self, list})
}

// hasGroups waits until exactly these groups have members; numbers are in the order of their keys.
func hasGroups(t *testing.T, s *Scope, want []ei.Term) {
	t.Helper()
	require.Eventually(t, func() bool {
		got := slices.SortedFunc(s.Groups(), func(a, b ei.Term) int { return int(a.(ei.Int) - b.(ei.Int)) })
		return slices.Equal(got, want)
	}, limit, tick, "want %v", want)
}

// asked waits until a scope, played, is asked for all its members.
func asked(t *testing.T, h *nodes.Mailbox) {
	t.Helper()
	for {
		got := cluster.Receive(t, h)
		if got.(ei.Tuple)[0] == ei.Term(ei.Atom("discover")) {
			return
		}
	}
}

// incomplete requires that something is left out of what these nodes have told, and of no others.
// The members are there before it is noted that some are not: it waits for the end of that message.
func incomplete(t *testing.T, s *Scope, nodeNames ...string) {
	t.Helper()
	if s.process != nil {
		s.process.Running.Lock()
		defer s.process.Running.Unlock()
	}
	err := s.Incomplete()
	if len(nodeNames) == 0 {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, ErrIncomplete)
	var one *nodes.Error
	require.ErrorAs(t, err, &one)
	require.Equal(t, nodeNames[0], one.Peer)
	for _, name := range nodeNames {
		require.ErrorContains(t, err, name)
	}
}

// errorLog gathers what is logged as an error.
type errorLog struct {
	slog.Handler
	mu   *sync.Mutex
	text *strings.Builder
}

func newErrorLog() errorLog {
	text := new(strings.Builder)
	return errorLog{slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelError}), new(sync.Mutex), text}
}

func (l errorLog) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

func (l errorLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

func (l errorLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Of a node that tells of more than there is room for, what is first in the order of groups is
// kept, and the rest is an error, a figure and one line of the log. Once others have left, the node
// is asked again, and all are here.
func TestKeepsWhatFits(t *testing.T) {
	w, log := newWorld(t), newErrorLog()
	a, s := w.scope("a", room(t, 10), func(cfg *nodes.Config) { cfg.Logger = slog.New(log) })
	x := w.node("x")
	w.connect(x, a)
	h := w.box(x)
	self := h.Pid()
	say := func(what ei.Term) { t.Helper(); require.NoError(t, h.Send(soon(t), s.process.Mailbox().Pid(), what)) }
	say(ei.Tuple{ei.Atom("discover"), self})
	asked(t, h)
	incomplete(t, s)
	backward := numbers(100, 130)
	slices.Reverse(backward)
	say(wholeOf(self, backward, self))
	hasGroups(t, s, numbers(100, 110))
	incomplete(t, s, "x@h")
	require.Equal(t, Stats{LeftOut: 20, Incomplete: 1}, s.Stats())

	for range 3 { // there is no room for it, and no new line in the log
		say(ei.Tuple{ei.Atom("join"), self, ei.Int(50), self})
		say(ei.Tuple{ei.Atom("leave"), self, self, ei.List{ei.Int(50)}})
	}
	say(ei.Tuple{ei.Atom("leave"), self, self, ei.List{ei.Int(100)}})
	hasGroups(t, s, numbers(101, 110))
	say(ei.Tuple{ei.Atom("join"), self, ei.Int(99), self}) // for this there is
	hasGroups(t, s, append(numbers(99, 100), numbers(101, 110)...))
	require.Equal(t, Stats{LeftOut: 23, Incomplete: 1}, s.Stats())

	// of those that were left out
	say(ei.Tuple{ei.Atom("leave"), self, self, ei.List(numbers(111, 129))})
	say(ei.Tuple{ei.Atom("leave"), self, self, ei.List(numbers(101, 105))})
	asked(t, h)
	incomplete(t, s, "x@h")
	say(wholeOf(self, append(append(numbers(99, 100), numbers(105, 111)...), ei.Int(129)), self))
	hasGroups(t, s, append(append(numbers(99, 100), numbers(105, 111)...), ei.Int(129)))
	require.Eventually(t, func() bool { return s.Incomplete() == nil }, limit, tick)
	require.Equal(t, Stats{LeftOut: 23}, s.Stats())
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
	require.Contains(t, log.String(), "peer=x@h")
	say(ei.Tuple{ei.Atom("join"), self, ei.Int(1), self})
	say(ei.Tuple{ei.Atom("join"), self, ei.Int(2), self})
	say(ei.Tuple{ei.Atom("join"), self, ei.Int(3), self})
	require.Eventually(t, func() bool { return s.Stats().Incomplete == 1 }, limit, tick)
	require.NoError(t, x.Close())
	require.Eventually(t, func() bool { return s.Incomplete() == nil }, limit, tick)
}

// A Go node that has fewer members than it had is seen whole again, whether its processes leave or
// end, and so are those whose leave says more than there is room for at once.
func TestFewerAreSeen(t *testing.T) {
	const many, few = 500, 10
	for name, fewer := range map[string]func(t *testing.T, s *Scope, big, small *nodes.Mailbox){
		"leave": func(t *testing.T, s *Scope, big, _ *nodes.Mailbox) {
			for _, g := range numbers(few, many) {
				require.NoError(t, s.Leave(soon(t), g, big))
			}
		},
		"end": func(t *testing.T, _ *Scope, big, _ *nodes.Mailbox) { require.NoError(t, big.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, s := w.scope("a", room(t, 20))
			b, sb := w.scope("b", nil)
			big, small := w.box(b), w.box(b)
			for _, g := range numbers(0, few) {
				require.NoError(t, sb.Join(soon(t), g, small))
			}
			for _, g := range numbers(few, many) {
				require.NoError(t, sb.Join(soon(t), g, big))
			}
			w.connect(a, b)
			hasGroups(t, s, numbers(0, 20))
			incomplete(t, s, "b@h")
			fewer(t, sb, big, small)
			hasGroups(t, s, numbers(0, few))
			require.Eventually(t, func() bool { return s.Incomplete() == nil }, limit, tick)
			require.NoError(t, sb.Join(soon(t), 400, small))
			hasGroups(t, s, append(numbers(0, few), ei.Int(400)))
		})
	}
}

// What the scopes of a node's workers tell counts together: when one of them ends there is room for
// the others' members.
func TestLimitIsPerNode(t *testing.T) {
	w := newWorld(t)
	a, s := w.scope("a", room(t, 10))
	x := w.node("x")
	w.connect(x, a)
	one, other := w.box(x), w.box(x)
	require.NoError(t, one.Send(soon(t), s.process.Mailbox().Pid(), wholeOf(one.Pid(), numbers(0, 8), one.Pid())))
	hasGroups(t, s, numbers(0, 8))
	require.NoError(t, other.Send(soon(t), s.process.Mailbox().Pid(), wholeOf(other.Pid(), numbers(10, 15), other.Pid())))
	hasGroups(t, s, append(numbers(0, 8), numbers(10, 12)...))
	incomplete(t, s, "x@h")
	require.NoError(t, one.Close())
	asked(t, other)
	require.NoError(t, other.Send(soon(t), s.process.Mailbox().Pid(), wholeOf(other.Pid(), numbers(10, 15), other.Pid())))
	hasGroups(t, s, numbers(10, 15))
	require.Eventually(t, func() bool { return s.Incomplete() == nil }, limit, tick)
}

// In the next process the node is asked again: what was left out is still not here.
func TestIncompleteMoves(t *testing.T) {
	w := newWorld(t)
	a, s := w.scope("a", room(t, 10))
	x := w.node("x")
	w.connect(x, a)
	h := w.box(x)
	require.NoError(t, h.Send(soon(t), s.process.Mailbox().Pid(), wholeOf(h.Pid(), numbers(0, 20), h.Pid())))
	hasGroups(t, s, numbers(0, 10))
	s.process.Running.Lock()
	state, err := s.handover()
	s.process.Running.Unlock()
	require.NoError(t, err)
	next := nextScope(s)
	require.NoError(t, next.inherit(state))
	incomplete(t, next, "x@h")
	require.Zero(t, next.Stats().LeftOut)
	require.True(t, next.peers[h.Pid()].again)
	require.True(t, next.limit.Due(h.Pid(), time.Now()))
}

// nextScope is the scope in the next process, before it inherits.
func nextScope(s *Scope) *Scope {
	return &Scope{
		table: newTable(), self: newOwner(), locals: map[ei.Pid]*local{}, byRef: map[ei.Ref]ei.Pid{}, peers: map[ei.Pid]*peer{},
		limit: kept.NewLimit[ei.Pid](1<<20, "Options.Limit", s.log), process: kept.New(kept.Options{}),
	}
}

// However a whole is, and in whatever order it comes, what is kept of it is what is first in the
// order of keys, as much as fits, and the rest is counted.
func TestWholeFits(t *testing.T) {
	from := ei.Pid{Node: "x@h", ID: 1, Creation: 1}
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(0, 3000).Draw(rt, "limit")
		groups := rapid.SliceOfNDistinct(rapid.IntRange(0, 255), 0, 40, rapid.ID).Draw(rt, "groups")
		list, members := ei.List{}, map[string]int{}
		total := rest{}
		for _, g := range groups {
			n := rapid.IntRange(0, 60).Draw(rt, "members")
			list = append(list, ei.Tuple{ei.Int(g), listOf(slices.Repeat([]ei.Pid{from}, n))})
			if n > 0 {
				key, _ := keyOfValue(g)
				members[key] = n
				total.add(n, groupCost+len(key)+memberCost*n)
			}
		}
		raw, err := ei.AppendTerm(nil, cast(ei.Tuple{ei.Atom("sync"), from, list}))
		require.NoError(rt, err)
		m, err := newParser(limit).parse(raw)
		require.NoError(rt, err)
		m.fit(limit) // as setMembers does
		want, left := map[string]int{}, limit
		for _, key := range slices.Sorted(maps.Keys(members)) {
			n := min((left-groupCost-len(key))/memberCost, members[key])
			if n > 0 {
				want[key] = n
				left -= groupCost + len(key) + memberCost*n
			}
			if n < members[key] {
				break
			}
		}
		got, bytes := map[string]int{}, 0
		for _, c := range m.changes {
			got[c.key] = len(c.joined)
			bytes += c.cost()
			total.count -= len(c.joined)
		}
		require.Equal(rt, want, got)
		require.LessOrEqual(rt, bytes, max(limit, 0))
		require.Equal(rt, total.count, m.leftOut.count)
		require.GreaterOrEqual(rt, total.bytes-bytes, m.leftOut.bytes)
	})
}
