package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A parent that ends before the answer to its request: the link tells the child its exit reason, as
// it does between Erlang nodes, normal included.
func TestSpawnOrphan(t *testing.T) {
	w := newWorld(t, "memory")
	a, p := w.met("alice")
	child := ei.Pid{Node: "wire@test", ID: 5, Creation: 77}
	request := func(b *Mailbox, o *SpawnOptions) dist.Control {
		of(b.SpawnRequest(w.ctx(), "wire@test", o, "m", "f")).must(t)
		q, _ := p.Next()
		return q
	}
	exits := func(q dist.Control, want ei.Term) {
		t.Helper()
		ctl, why := p.nextSignal()
		require.Equal(t, dist.OpPayloadExit, ctl.Op)
		require.Equal(t, child, ctl.To)
		require.Equal(t, q.From, ctl.From)
		require.Equal(t, want, why)
	}
	for _, reason := range []ei.Term{ei.Atom("normal"), ei.Atom("shutdown"), ei.Tuple{ei.Atom("big"), ei.Binary("reason")}} {
		b := box(t, a)
		q, other := request(b, &SpawnOptions{Link: true}), request(b, &SpawnOptions{Link: true, Monitor: true})
		b.Exit(reason)
		p.spawned(q, dist.SpawnLinked, child)
		exits(q, reason)
		p.spawned(other, dist.SpawnLinked|dist.SpawnMonitored, child)
		exits(other, reason)
		ctl, _ := p.nextSignal()
		require.Equal(t, dist.OpDemonitorP, ctl.Op)
		require.Equal(t, other.Ref, ctl.Ref)
		p.spawned(q, dist.SpawnLinked, child) // a second time it is nobody's any more
		exits(q, ei.Atom("noproc"))

		b = box(t, a) // which waits for the answer
		called := async(func() (ei.Pid, error) { return b.SpawnLink(w.ctx(), "wire@test", "m", "f") })
		q, _ = p.Next()
		b.Exit(reason)
		require.ErrorAs(t, arrives(t, called, "the end of the wait").err, new(*ExitError))
		p.spawned(q, dist.SpawnLinked, child)
		exits(q, reason)
	}
	b := box(t, a)
	q := request(b, &SpawnOptions{Link: true})
	b.Exit(ei.Atom("enough"))
	p.spawned(q, 0, ei.Atom("system_limit"))
	p.Send(dist.Control{Op: dist.OpRegSend, From: child, ToName: "nobody"}, ei.Atom("behind"))
	require.Eventually(t, func() bool { return a.Stats().Undeliverable == 1 }, tooLong, tick)
	require.Empty(t, a.Conn("wire@test").orphans.reasons, "a process that was never made")

	// The answer does not come, since the connection ends.
	b = box(t, a)
	q = request(b, &SpawnOptions{Link: true})
	b.Exit(ei.Atom("enough"))
	p.Close()
	require.Eventually(t, func() bool { return a.Conn("wire@test") == nil }, tooLong, tick)
	p = w.peer(a.Listeners()[0], role("wire@test"))
	p.spawned(q, dist.SpawnLinked, child)
	exits(q, ei.Atom("noproc"))

	// No request has gone out.
	b = box(t, a)
	_, err := b.SpawnLink(w.ctx(), "wire@test", "m", "f", make(chan int))
	require.ErrorContains(t, err, "spawn")
	b.Exit(ei.Atom("enough"))
	require.Empty(t, a.Conn("wire@test").orphans.reasons)
	nothingLeft(t, a)
}

// So it is with a process of the same node, which is made in the same moment: after a normal end of
// its parent it lives.
func TestSpawnOrphanHere(t *testing.T) {
	a := newWorld(t, "memory").started("alice")
	runs := make(chan int, 1)
	a.Expose("m", "child", func(ctx context.Context, _ []ei.Term) (any, error) {
		runs <- len(linksOf(MailboxOf(ctx)))
		return nil, nil
	})
	b := box(t, a)
	ref := of(a.newCallRef()).must(t)
	require.NoError(t, b.awaitSpawn(soon(t), ref, a.Name(), nil))
	require.NoError(t, b.Close())
	c := calling{n: a, from: b.pid, ref: ref}
	require.NoError(t, c.request(soon(t), a.Name(), newProcess(otp.SpawnOptions{Link: true}, "m", "child", nil)))
	require.Zero(t, arrives(t, runs, "the child"), "links")
	require.Empty(t, a.procs.orphans.reasons)
	nothingLeft(t, a)
}
