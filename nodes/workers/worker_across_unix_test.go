//go:build unix

package workers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A peer reaches processes of workers that it has no connection to: by pid and by name, in order,
// with links, monitors and calls.
func TestAcrossWorkers(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	a, b := ns[0], ns[1]
	there := w.start(b, "")
	named := w.start(b, "joe")
	require.NotEqual(t, there, named)
	require.Equal(t, named, w.rpc(a, "whereis", ei.Atom("joe")))
	_, err := a.RPC(soon(t), frontName, "w", "start", ei.Atom("joe"))
	require.Error(t, err, "the name is taken in the node")

	// Messages, in order, to both.
	box := w.mailbox(a, &nodes.MailboxOptions{TrapExit: true})
	const many = 2000
	for i := range many {
		require.NoError(t, box.Send(soon(t), there, i))
		require.NoError(t, box.SendName(soon(t), frontName, "joe", i))
	}
	for _, pid := range []ei.Pid{there, named} {
		v := of(a.Call(soon(t), pid, ei.Atom("got"))).must(t)
		got, _ := ei.Elements(v)
		require.Len(t, got, many)
		for i, n := range got {
			require.Equal(t, ei.Int(i), n)
		}
	}
	require.Equal(t, ei.Int(w.worker(b)), of(a.CallName(soon(t), frontName, "joe", ei.Atom("pid"))).must(t))

	// Monitors, by pid and by name, and a link.
	byPid := monitor(t, box, there)
	byName := of(box.MonitorName(soon(t), frontName, "joe")).must(t)
	gone, err := box.MonitorName(soon(t), frontName, "joe")
	require.NoError(t, err)
	box.Demonitor(context.Background(), gone)
	require.NoError(t, box.Link(soon(t), named))
	require.NoError(t, box.Send(soon(t), there, ei.Atom("done")))
	m := w.receive(box)
	require.Equal(t, byPid, m.Ref)
	require.NoError(t, box.Send(soon(t), named, ei.Atom("done")))
	seen := 0
	for range 2 {
		switch m := w.receive(box); {
		case m.Ref == byName:
			seen |= 1
		case m.From == named && m.Ref == (ei.Ref{}):
			seen |= 2
		}
	}
	require.Equal(t, 3, seen)
	require.Equal(t, ei.Atom("undefined"), w.rpc(a, "whereis", ei.Atom("joe")))
	w.rpc(a, "start", ei.Atom("joe"))

	// Processes and names that do not exist.
	ref := monitor(t, box, there)
	require.Equal(t, ref, w.receive(box).Ref)
	_, err = a.CallName(soon(t), frontName, "nobody", 1)
	require.ErrorIs(t, err, nodes.ErrNoProc)
}

// A name that moves on between two workers is found at once by a third one that remembers where it
// was; and links and monitors between those two go on. Once it is no longer registered, messages
// for it do not go round between workers that remember where it was.
func TestNameMovesOnElsewhere(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	one, two := w.start(ns[1], ""), w.start(ns[2], "")
	watch := w.mailbox(ns[0], nil)
	for i := range 4 {
		at := ns[1+i%2]
		joe := w.start(at, "joe")
		v := of(ns[0].CallName(soon(t), frontName, "joe", ei.Atom("pid"))).must(t)
		require.Equal(t, ei.Int(w.worker(at)), v)
		v = of(ns[0].Call(soon(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")})).must(t)
		require.Equal(t, ei.Int(w.worker(ns[2])), v)
		monitor(t, watch, joe)
		require.NoError(t, watch.Send(soon(t), joe, ei.Atom("done")))
		w.receive(watch)
		require.Eventually(t, func() bool { return w.rpc(at, "whereis", ei.Atom("joe")) == ei.Atom("undefined") }, tooLong, tick)
	}
	for _, n := range ns {
		_, err := n.CallName(soon(t), frontName, "joe", 1)
		require.ErrorIs(t, err, nodes.ErrNoProc)
	}
}

// Processes of two workers send to, link, monitor and call each other.
func TestBetweenWorkers(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	one := w.start(ns[0], "")
	two := w.start(ns[1], "")
	v := of(ns[2].Call(soon(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")})).must(t)
	require.Equal(t, ei.Int(w.worker(ns[1])), v)
	for _, caller := range []*nodes.Mailbox{w.mailbox(ns[2], nil), w.mailbox(ns[0], nil)} {
		v := of(caller.Call(soon(t), one, ei.Tuple{ei.Atom("ask"), two, ei.Atom("pid")})).must(t)
		require.Equal(t, ei.Int(w.worker(ns[1])), v)
	}

	watch := w.mailbox(ns[2], nil)
	ref := monitor(t, watch, one)
	require.NoError(t, watch.Send(soon(t), one, ei.Tuple{ei.Atom("link"), two}))
	// it comes after the link: then both know of the link
	of(ns[2].Call(soon(t), one, ei.Tuple{ei.Atom("call"), two, ei.Atom("pid")})).must(t)
	require.NoError(t, watch.Send(soon(t), two, ei.Atom("boom")))
	m := w.receive(watch)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, ei.Atom("boom"), decode(t, m.Reason))
}

// A worker sends to a peer that another worker is connected to, and connects to one that no worker
// is connected to.
func TestWorkersShareConnections(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	serve(t, ns[2], "me", echoes)
	for _, n := range ns[:2] {
		require.Equal(t, ei.Int(5), w.rpc(n, "ask", ei.Atom(ns[2].Name()), ei.Atom("me"), ei.Int(5)))
	}
	require.Equal(t, []string{frontName}, ns[2].Peers())

	fresh := w.node("fresh@127.0.0.1")
	serve(t, fresh, "me", echoes)
	results := make(chan result[ei.Term], 3)
	for _, n := range ns { // all at once
		go func() {
			results <- of(n.RPC(soon(t), frontName, "w", "ask", ei.Atom("fresh@127.0.0.1"), ei.Atom("me"), ei.Int(6)))
		}()
	}
	for range ns {
		r := <-results
		require.NoError(t, r.err)
		require.Equal(t, ei.Int(6), r.v)
	}
	require.Equal(t, []string{frontName}, fresh.Peers())
}

// A link or monitor between a peer and a process of a worker that the peer is not connected to
// breaks with the peer's connection.
func TestPeerGoesFromAcrossWorkers(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	joe := w.start(ns[1], "")
	require.NoError(t, w.mailbox(ns[0], nil).Link(soon(t), joe))
	_, err := ns[0].Call(soon(t), joe, ei.Int(1)) // the link is there
	require.NoError(t, err)
	watching := w.mailbox(ns[1], nil)
	ref := monitor(t, watching, joe)
	of(ns[1].Call(soon(t), joe, ei.Int(2))).must(t) // so is the monitor
	require.NoError(t, ns[0].Conn(frontName).Close())
	m := w.receive(watching)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, noconnection, decode(t, m.Reason))
}

// Aliases of a worker's processes are reached from other workers and from peers of these; a worker
// gets the replies of a peer that another one is connected to.
func TestAliasesAcrossWorkers(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	one := w.start(ns[0], "")
	alias := w.rpc(ns[0], "alias", one)
	two := w.start(ns[1], "")
	watch := w.mailbox(ns[2], nil)
	ask := ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{watch.Pid(), ei.Atom("tag")}, ei.Atom("pid")}
	answer := ei.Tuple{ei.Atom("tag"), ei.Int(w.worker(ns[0]))}
	received := func() {
		t.Helper()
		require.Equal(t, answer, content(t, w.receive(watch)))
	}
	for range 2 {
		require.NoError(t, watch.SendAlias(soon(t), alias.(ei.Ref), ask))
		received()
		require.NoError(t, watch.Send(soon(t), two, ei.Tuple{ei.Atom("send"), alias, ask}))
		received()
	}
}
