package pg

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

func TestErrors(t *testing.T) {
	w := newWorld(t)
	n, s := w.scope("a", nil)
	other := w.node("b")
	_, err := Start(t.Context(), n, "", nil)
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	require.ErrorContains(t, err, "start pg scope pg")
	_, err = Start(t.Context(), n, "x", &Options{Limit: -1})
	require.ErrorContains(t, err, "Options.Limit is -1")
	a := w.box(n)
	require.NoError(t, s.Join(soon(t), "g"))
	require.Empty(t, slices.Collect(s.Groups()))
	require.ErrorIs(t, s.Leave(soon(t), "g", a), ErrNotJoined)
	require.ErrorContains(t, s.Join(soon(t), "g", w.box(other)), "not of this node")
	require.ErrorContains(t, s.Join(soon(t), "g", nil), "nil")
	require.Error(t, s.Join(soon(t), make(chan int), a))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Start(over, n, "x", nil)
	require.ErrorIs(t, err, context.Canceled)
	if err := s.Join(over, "g", a); err != nil { // or it was quick
		require.ErrorIs(t, err, context.Canceled)
	}
	ended := w.box(n)
	ended.Close()
	require.ErrorAs(t, s.Join(soon(t), "g", ended), new(*nodes.ExitError))
	for _, err := range s.Monitor(t.Context(), make(chan int)) {
		require.Error(t, err)
	}
	require.NoError(t, s.Err())
	require.NoError(t, s.Close())
	<-s.Done()
	require.ErrorIs(t, s.Err(), nodes.ErrClosed)
	require.ErrorIs(t, s.Join(soon(t), "g", a), nodes.ErrClosed)
	for _, err := range s.MonitorScope(t.Context()) {
		require.NoError(t, err, "its end by Close is none")
	}
	require.NoError(t, a.Err(), "the members live on")
	s, err = Start(t.Context(), n, "", nil)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	<-s.Done()
	require.Error(t, s.Err())
	require.Nil(t, n.Whereis("pg"))
}

// The order in which things come does not matter, and a leave in between does no harm: a scope of
// OTP 25 ends over one of a group of which it has not heard.
func TestLeaveBeforeWhole(t *testing.T) {
	w := newWorld(t)
	n, s := w.scope("a", nil)
	a := w.box(n)
	o := w.oldScope("x")
	w.connect(n, o.n)
	require.NoError(t, s.Join(soon(t), ei.Atom("g"), a))
	o.sees(t, ei.Atom("g"), a.Pid())
	// known of by a sync alone, as when the scope there has answered a discover, but not yet
	// received anything
	require.NoError(t, o.box.Send(soon(t), s.process.Mailbox().Pid(), cast(ei.Tuple{ei.Atom("sync"), o.box.Pid(), ei.List{}})))
	require.NoError(t, s.Leave(soon(t), ei.Atom("g"), a))
	o.sees(t, ei.Atom("g"))
	o.lives(t)
}

// Anything happens, in any order, to three nodes: in the end all see the same, the scope of OTP 25
// lives, and nothing is left over.
func TestAnything(t *testing.T) {
	for range 5 {
		seed := rand.Uint64()
		t.Run("", func(t *testing.T) { anything(t, seed) })
	}
}

func anything(t *testing.T, seed uint64) {
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	small := func(cfg *nodes.Config) { cfg.QueueLimit = 4 << 10 }
	var ns []*nodes.Node
	var ss []*Scope
	for _, name := range []string{"a", "b"} {
		n, s := w.scope(name, nil, small)
		ns, ss = append(ns, n), append(ss, s)
	}
	o := w.oldScope("x", small)
	all := append(slices.Clone(ns), o.n)
	paces := []time.Duration{0, 0, 0, 10 * time.Microsecond, time.Millisecond}
	var pace sync.Mutex
	wait := time.Duration(0)
	o.pace = func() {
		pace.Lock()
		d := wait
		pace.Unlock()
		if d > 0 {
			time.Sleep(d)
		}
	}
	type joined struct {
		box   *nodes.Mailbox
		group int
	}
	groups := []any{ei.Atom("g"), ei.Atom("h"), ei.Tuple{ei.Int(1), ei.Atom("i")}, ei.Atom(strings.Repeat("long", 30))}
	boxes := make([][]*nodes.Mailbox, 2)
	model := make([][]joined, 2)
	for range 600 {
		i := r.IntN(2)
		switch g := r.IntN(len(groups)); r.IntN(12) {
		case 0:
			boxes[i] = append(boxes[i], w.box(ns[i]))
		case 1, 2, 3, 4:
			if len(boxes[i]) > 0 {
				b := boxes[i][r.IntN(len(boxes[i]))]
				times := 1 + r.IntN(3)
				require.NoError(t, ss[i].Join(soon(t), groups[g], slices.Repeat([]*nodes.Mailbox{b}, times)...))
				model[i] = append(model[i], slices.Repeat([]joined{{b, g}}, times)...)
			}
		case 5, 6, 7:
			if len(model[i]) > 0 {
				at := r.IntN(len(model[i]))
				j := model[i][at]
				require.NoError(t, ss[i].Leave(soon(t), groups[j.group], j.box))
				model[i] = slices.Delete(model[i], at, at+1)
			}
		case 8:
			if len(boxes[i]) > 0 {
				at := r.IntN(len(boxes[i]))
				b := boxes[i][at]
				b.Close()
				boxes[i] = slices.Delete(boxes[i], at, at+1)
				model[i] = slices.DeleteFunc(model[i], func(j joined) bool { return j.box == b })
			}
		case 9:
			from, to := all[r.IntN(3)], all[r.IntN(3)]
			if from != to {
				_, _ = from.Connect(soon(t), to.Name()) // there may be one
			}
		case 10:
			from, to := all[r.IntN(3)], all[r.IntN(3)]
			if c := from.Conn(to.Name()); c != nil && r.IntN(3) == 0 {
				_ = c.Close()
				if o.n == from || o.n == to {
					// a BEAM hears of the end of a connection before anything comes over the next
					// one
					other := from
					if other == o.n {
						other = to
					}
					o.forgets(t, other.Name())
				}
			}
			if r.IntN(20) == 0 {
				if b := ns[i].Whereis("pg"); b != nil {
					b.Exit(ei.Atom("killed"))
				}
			}
		case 11:
			pace.Lock()
			wait = paces[r.IntN(len(paces))]
			pace.Unlock()
		}
	}
	pace.Lock()
	wait = 0
	pace.Unlock()
	// a connection that one side has closed may be there for a while on the other
	joinAll := func() {
		for i, from := range all {
			for _, to := range all[i+1:] {
				_, _ = from.Connect(soon(t), to.Name())
			}
		}
	}
	var joining sync.WaitGroup
	settled := make(chan struct{})
	defer joining.Wait()
	defer close(settled)
	joining.Go(func() {
		for {
			joinAll()
			select {
			case <-settled:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	for g, group := range groups {
		var want []ei.Pid
		for i := range model {
			for _, j := range model[i] {
				if j.group == g {
					want = append(want, j.box.Pid())
				}
			}
		}
		for i := range ss {
			sees(t, ss[i], group, want...)
		}
		o.sees(t, group.(ei.Term), want...)
	}
	o.lives(t)
	for i := range ss {
		for _, b := range boxes[i] {
			b.Close()
		}
	}
	for _, s := range ss {
		require.Eventually(t, func() bool {
			s.process.Running.Lock()
			defer s.process.Running.Unlock()
			return len(s.locals) == 0 && len(s.peers) == 2 && len(s.byRef) == 2 && len(s.table.groups) == 0
		}, limit, time.Millisecond)
	}
	for _, n := range ns {
		require.LessOrEqual(t, n.Stats().Mailboxes, 3) // net_kernel, rex, pg
	}
}

// Nothing that a node sends ends anything here, or makes members of what is not that node's.
func TestHostile(t *testing.T) {
	w := newWorld(t)
	n, s := w.scope("a", &Options{Limit: 1 << 20})
	a := w.box(n)
	require.NoError(t, s.Join(soon(t), ei.Atom("g"), a))
	o := w.oldScope("x")
	w.connect(n, o.n)
	o.sees(t, ei.Atom("g"), a.Pid())
	bad := w.node("b")
	w.connect(bad, n)
	h := w.box(bad)
	self := h.Pid()
	own := s.process.Mailbox().Pid()
	ctx, cancel := context.WithTimeout(t.Context(), 10*limit) // for all of it
	defer cancel()
	say := func(what any) {
		t.Helper()
		require.NoError(t, h.Send(ctx, own, what))
	}
	discover := ei.Tuple{ei.Atom("discover"), self}
	g := ei.Atom("g")
	victims := []ei.Pid{a.Pid(), own, o.box.Pid(), {Node: "nobody@h", ID: 1, Creation: 1}}
	say(discover)
	for _, victim := range victims {
		for _, term := range []ei.Term{
			ei.Tuple{ei.Atom("discover"), victim}, ei.Tuple{ei.Atom("discover"), victim, ei.Int(1)},
			ei.Tuple{ei.Atom("join"), self, g, victim}, ei.Tuple{ei.Atom("join"), victim, g, victim}, ei.Tuple{ei.Atom("join"), victim, g, self},
			ei.Tuple{ei.Atom("leave"), self, victim, ei.List{g}}, ei.Tuple{ei.Atom("leave"), victim, victim, ei.List{g}},
			cast(ei.Tuple{ei.Atom("sync"), self, ei.List{ei.Tuple{g, ei.List{victim}}}}), cast(ei.Tuple{ei.Atom("sync"), victim, ei.List{}}),
			cast(ei.Tuple{ei.Atom("local_data"), self, ei.Int(1), ei.MapOf("g", []ei.Term{victim})}),
			cast(ei.Tuple{ei.Atom("local_data"), victim, ei.Int(1), ei.Map{}}),
			ei.Tuple{ei.Atom("update"), self, ei.List{ei.Tuple{g, ei.List{victim}, ei.List{}}}},
			ei.Tuple{ei.Atom("update"), victim, ei.List{ei.Tuple{g, ei.List{}, ei.List{victim}}}},
			ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("hello"), victim},
			ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("nodes"), victim, ei.List{ei.Atom("y@h")}},
			ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("run")},
			ei.Tuple{ei.Atom("nodeup"), ei.Atom("y@h"), ei.List{}}, ei.Tuple{ei.Atom("nodedown"), ei.Atom("x@h"), ei.List{}},
			ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{self, ei.Atom("tag")}, ei.Tuple{ei.Atom("join_local"), g, victim}},
			ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{victim, ei.Atom("tag")}, ei.Atom("monitor")},
			ei.Tuple{ei.Atom("system"), ei.Tuple{self, ei.Atom("tag")}, ei.Tuple{ei.Atom("terminate"), g}},
			ei.Tuple{ei.Atom("EXIT"), victim, g}, ei.Tuple{ei.Atom("DOWN"), ei.Ref{Node: "b@h", Len: 3, Creation: 1}, ei.Atom("process"), victim, g},
			g, ei.Int(1), ei.List{}, ei.Tuple{}, ei.Map{}, ei.Binary("x"),
		} {
			say(term)
		}
	}
	say(ei.Raw(slices.Concat([]byte("h\x04w\x04join"), must(ei.AppendPid(nil, self)), []byte("w\x01gl\xff\xff\xff\xff"))))
	say(ei.Raw(slices.Concat(must(ei.AppendTerm(nil, ei.Tuple{ei.Atom("join"), self, ei.Raw(slices.Concat(
		slices.Repeat([]byte{'h', 1}, 100_000), []byte{'j'})), self})))))
	require.NoError(t, h.SendExit(soon(t), own, ei.Atom("shutdown")))
	// and in between it is a scope like any other
	member := w.box(bad)
	say(discover)
	say(ei.Tuple{ei.Atom("join"), self, g, member.Pid()})
	sees(t, s, g, a.Pid(), member.Pid())
	require.Equal(t, []ei.Term{g}, slices.Collect(s.Groups()))

	// more than it may have
	long := strings.Repeat("x", 10_000)
	for i := range 200 {
		say(ei.Tuple{ei.Atom("join"), self, ei.Tuple{ei.Int(i), ei.Binary(long)}, member.Pid()})
	}
	require.Eventually(t, func() bool { return s.Stats().LeftOut > 0 }, limit, time.Millisecond)
	sees(t, s, g, a.Pid(), member.Pid())
	require.Less(t, len(slices.Collect(s.Groups())), 110)
	say(cast(ei.Tuple{ei.Atom("sync"), self, ei.List{ei.Tuple{ei.Atom("h"), ei.List{member.Pid()}}}}))
	sees(t, s, ei.Atom("h"), member.Pid())
	sees(t, s, g, a.Pid())

	// scopes without end, none of which is there
	heap := func() int64 {
		for i := range 5_000 {
			say(ei.Tuple{ei.Atom("discover"), ei.Pid{Node: self.Node, ID: uint32(1000 + i), Creation: self.Creation}})
		}
		require.Eventually(t, func() bool {
			s.process.Running.Lock()
			defer s.process.Running.Unlock()
			return len(s.peers) == 2
		}, limit, time.Millisecond)
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	first := heap()
	require.Less(t, heap()-first, int64(8<<20))

	require.NoError(t, bad.Close())
	sees(t, s, ei.Atom("h"))
	o.sees(t, g, a.Pid())
	o.lives(t)
	require.NoError(t, s.Err())
	require.Equal(t, own, s.process.Mailbox().Pid(), "the scope's process is the same")
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A scope whose peer does not read makes no one wait, and tells it all once it does.
func TestBehind(t *testing.T) {
	w := &world{cluster.Unix(t), t} // connections of which can be frozen
	n, s := w.scope("a", nil, func(cfg *nodes.Config) { cfg.QueueLimit = 4 << 10 })
	a := w.box(n)
	o := w.oldScope("x")
	w.connect(n, o.n)
	require.NoError(t, s.Join(soon(t), ei.Atom("g"), a))
	o.sees(t, ei.Atom("g"), a.Pid())
	frozen, err := o.n.Conn("a@h").Freeze(soon(t)) // it reads nothing
	require.NoError(t, err)
	for i := range 2000 {
		require.NoError(t, s.Join(soon(t), ei.Int(i), a))
		if i%2 == 0 {
			require.NoError(t, s.Leave(soon(t), ei.Int(i), a))
		}
	}
	frozen.Thaw()
	o.sees(t, ei.Int(1999), a.Pid())
	o.sees(t, ei.Int(1998))
	require.NoError(t, s.Leave(soon(t), ei.Int(1999), a))
	o.sees(t, ei.Int(1999))
	o.lives(t)
}

func TestBroadcast(t *testing.T) {
	w := newWorld(t)
	n, s := w.scope("a", nil)
	m, s2 := w.scope("b", nil)
	w.connect(n, m)
	var boxes []*nodes.Mailbox
	for range 10 {
		a, b := w.box(n), w.box(m)
		require.NoError(t, s.Join(soon(t), "g", a))
		require.NoError(t, s2.Join(soon(t), "g", b, b))
		boxes = append(boxes, a, b, b)
	}
	require.Eventually(t, func() bool { return len(slices.Collect(s.Members("g"))) == 30 }, limit, time.Millisecond)
	require.Len(t, slices.Collect(s.LocalMembers("g")), 10)
	for range s.Members("g") {
		break
	}
	require.NoError(t, s.Broadcast(soon(t), boxes[0], "g", []int{1000, 2}))
	require.NoError(t, s.Broadcast(soon(t), nil, "g", "second"))
	for range 2 {
		for _, b := range boxes {
			_, err := b.Receive(soon(t))
			require.NoError(t, err)
		}
	}
	require.Error(t, s.Broadcast(soon(t), nil, "g", make(chan int)))

	// a full mailbox makes it wait, and nobody else
	full := cluster.Mailbox(t, n, &nodes.MailboxOptions{Limit: 1})
	require.NoError(t, s.Join(soon(t), "full", full, boxes[0], full, boxes[3]))
	require.ErrorIs(t, s.Broadcast(transport.NoWait(), boxes[0], "full", "one"), os.ErrDeadlineExceeded)
	for _, b := range []*nodes.Mailbox{full, boxes[0], boxes[3]} {
		_, err := b.Receive(soon(t))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Broadcast(ctx, boxes[0], "full", "two"), context.DeadlineExceeded)
}

// A program of the C library, which takes what it has not asked for as an error, is asked by no
// worker of the node: the others do not hear of it.
func TestProgramsAreNotAsked(t *testing.T) {
	w := newWorld(t)
	n, s := w.scope("a", nil)
	w.connect(w.node("b", func(cfg *nodes.Config) { cfg.Flags = dist.FlagsLibei }), n)
	w.connect(w.node("c"), n) // of which the scope hears later
	var told ei.Term
	require.Eventually(t, func() bool {
		require.NoError(t, s.process.Do(soon(t), func() { told = s.nodesMessage(s.process.Mailbox()) }))
		return len(told.(ei.Tuple)[3].(ei.List)) > 0
	}, limit, time.Millisecond)
	require.Equal(t, ei.List{ei.Atom("c@h")}, told.(ei.Tuple)[3])
	var reachable map[string]bool
	require.NoError(t, s.process.Do(soon(t), func() { reachable = s.reachable() }))
	require.Equal(t, map[string]bool{"c@h": true}, reachable)
}
