//go:build unix

package workers

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// setUpApart gives a worker functions that break the ways to the other workers for as long as a
// test likes.
func setUpApart(n *nodes.Node) {
	n.Expose("w", "apart", func(context.Context, []ei.Term) (any, error) {
		p := partOf(n)
		p.ways.mu.Lock()
		defer p.ways.mu.Unlock()
		for id, c := range p.workerLinks {
			if id < p.id { // otherwise the other worker asks for another way
				p.seeking[id] = true
			}
			linkOf(c).Fail(nodes.ErrTickTimeout)
		}
		return ei.Atom("ok"), nil
	})
	n.Expose("w", "together", func(context.Context, []ei.Term) (any, error) {
		p := partOf(n)
		p.ways.mu.Lock()
		lost := p.seeking
		p.seeking = map[int]bool{}
		p.ways.mu.Unlock()
		for id := range lost {
			p.seekWorkerLink(id)
		}
		return ei.Atom("ok"), nil
	})
}

// While two workers have no way to each other, peers still reach their processes, in order; also
// after one of the workers has moved to another process. What the workers' own processes say to
// each other waits.
func TestWorkersApart(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	one, other := w.workerProcess(w.worker(ns[0])), w.workerProcess(w.worker(ns[1]))
	if w.number(w.worker(ns[0])) > w.number(w.worker(ns[1])) { // the worker with the higher number asks for another way
		ns[0], ns[1], one = ns[1], ns[0], other
	}
	x, y := ns[0], ns[1]
	joe, ann := w.start(y, "joe"), w.start(x, "")
	b := w.mailbox(x, &nodes.MailboxOptions{TrapExit: true})
	var sent ei.List
	send := func() {
		for range 20 {
			require.NoError(t, b.Send(soon(t), joe, len(sent)))
			require.NoError(t, b.SendName(soon(t), frontName, "joe", len(sent)+1))
			sent = append(sent, ei.Int(len(sent)), ei.Int(len(sent)+1))
		}
		require.Equal(t, sent, of(x.Call(soon(t), joe, ei.Atom("got"))).must(t))
	}
	send()
	for _, n := range ns {
		w.rpc(n, "apart")
	}
	send() // through the way that there is
	require.NoError(t, w.mailbox(y, nil).Send(soon(t), ann, ei.Int(1)))
	got, err := y.Call(soon(t), ann, ei.Atom("got"))
	require.NoError(t, err, "through a new one")
	require.Equal(t, ei.List{ei.Int(1)}, got)

	_, err = one.Upgrade()
	require.NoError(t, err)
	send()
	ref := monitor(t, b, joe)
	require.NoError(t, b.Link(soon(t), joe))
	send()
	require.Zero(t, insideOf(b.Node()).Waiting(b))

	bob := w.start(x, "")
	called := async(func() (ei.Term, error) {
		return x.Call(soon(t), bob, ei.Tuple{ei.Atom("call"), joe, ei.Atom("pid")})
	})
	w.rpc(y, "together")
	r := arrives(t, called, "the answer")
	require.NoError(t, r.err)
	require.Equal(t, ei.Int(w.worker(y)), r.v)
	require.NoError(t, b.Send(soon(t), joe, ei.Atom("bye")))
	for range 2 {
		m := w.receive(b)
		require.Equal(t, ei.Atom("bye"), decode(t, m.Reason), "%v %v", m.Op, ref)
	}
}

// A torn is a worker that has lost the way to another worker, number 2, which lives.
type torn struct {
	*loneWorker
	w   *world
	far ei.Pid // a process of worker 2
}

func (w *world) torn(limit time.Duration, edit ...func(*nodes.Config)) *torn {
	t := w.t
	n := &torn{loneWorker: w.worker("front", limit, edit...), w: w}
	n.far = ei.Pid{Node: ei.Atom(n.Name()), ID: 1, Serial: 2, Creation: n.Creation()}
	p := n.mend()
	c := n.part.WorkerLink(2)
	require.NoError(t, p.S.Close())
	arrives(t, linkOf(c).Left(), "the end of the way")
	return n
}

// mend gives the worker another way to worker 2; the test has the other end.
func (n *torn) mend() *wire {
	t := n.w.t
	here, there, err := descriptor.StreamPair()
	require.NoError(t, err)
	n.part.addWorkerLink(&talk.WorkerLink{Part: 2, FD: here})
	return n.end(there)
}

// second is mend with a way that already holds a message for a process.
func (n *torn) second(to ei.Pid, payload ei.Term) *wire {
	t := n.w.t
	here, there, err := descriptor.StreamPair()
	require.NoError(t, err)
	p := n.end(there)
	p.Send(dist.Control{Op: dist.OpSend, To: to}, payload)
	n.part.addWorkerLink(&talk.WorkerLink{Part: 2, FD: here})
	return p
}

// remote link is the other end of the relay link that the worker has just made for worker 2.
func (n *torn) remoteLink() *wire {
	for {
		if link, ok := arrives(n.w.t, n.asked, "the way").(*talk.RemoteLink); ok {
			require.Equal(n.w.t, 2, link.Part)
			return n.end(link.FD)
		}
	}
}

// moves freezes the worker, and gives what makes another one of it.
func (n *torn) moves() (f handoff.Frozen, stage func() *workerHeir) {
	t := n.w.t
	old := newWorker(nil)
	old.n, old.p = n.node, n.part
	f = of(old.freeze(soon(t))).must(t)
	return f, func() *workerHeir {
		h := &workerHeir{cfg: again(n.Node)}
		of(h.stage(soon(t), f.State(), duplicates(t, f.Descriptors()))).must(t)
		return h
	}
}

// end is the other end of a way between workers.
func (n *torn) end(fd int) *wire {
	t := n.w.t
	s := of(transport.Unix().Import(fd, nil)).must(t)
	t.Cleanup(func() { s.Close() })
	return &wire{&rawpeer.Peer{T: t, S: s, Node: n.part.workerLinkPeer(), Self: n.far}}
}

// Monitors between workers do not depend on the flags that the node announces to other nodes.
func TestMonitorBetweenPlainWorkers(t *testing.T) {
	n := newWorld(t).torn(time.Hour, func(cfg *nodes.Config) { cfg.Flags = dist.FlagsLibei })
	p := n.mend()
	b := box(t, n.Node)
	ref := monitor(t, b, n.far)
	require.NoError(t, b.Send(soon(t), n.far, "behind it"))
	ctl, _ := p.Next()
	require.Equal(t, dist.OpMonitorP, ctl.Op)
	require.Equal(t, ref, ctl.Ref)
}

// A peer's messages to a process of another worker do not wait for the way between the two workers.
func TestPeerOfWorkerApart(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	b := box(t, w.started("peer"))
	require.NoError(t, b.Link(soon(t), n.far))
	ctl, _ := n.remoteLink().Next()
	require.Equal(t, dist.OpLink, ctl.Op)
	require.Zero(t, insideOf(b.Node()).Waiting(b))
}

// A link that goes through a relay link just as the relay link ends is not forgotten: the peer is
// told of its end. So it is if the link is with a process that the peer has spawned for one of the
// other worker.
func TestBranchEndsBesideLink(t *testing.T) {
	for _, op := range []dist.Op{dist.OpLink, dist.OpSpawnReply} {
		w := newWorld(t)
		n := w.torn(time.Hour)
		p := w.peer(n.Listeners()[0], role("peer@test"))
		c := w.conn(n.Node, "peer@test")
		b, _, err := n.part.relayLink(n.of(c), 2, true)
		require.NoError(t, err)
		n.remoteLink()
		m := n.MessageFrom(c, dist.Control{Op: op, From: p.Self, To: n.far})
		if op == dist.OpSpawnReply {
			m.From, m.Flags = ei.Pid{}, dist.SpawnLinked
			m.Result = of(ei.AppendPid(nil, p.Self)).must(t)
		}
		require.True(t, b.note(m, true))
		b.l.Fail(nodes.ErrTickTimeout)
		arrives(t, b.l.Left(), "the end of the branch")
		ctl, reason := p.Next()
		require.Equal(t, n.far, ctl.From)
		require.Equal(t, p.Self, ctl.To)
		require.Equal(t, ei.Atom("killed"), reason)
		require.False(t, b.note(m, true), "nobody would tell the peer")
	}
}

// When a worker dies, peers are told of the links that its processes have made through a relay
// link, and of no link that they have ended.
func TestBranchEndsWithLinksOfItsProcesses(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	p := w.peer(n.Listeners()[0], role("peer@test"))
	b, _, err := n.part.relayLink(n.of(w.conn(n.Node, "peer@test")), 2, true)
	require.NoError(t, err)
	there := n.remoteLink()
	near := n.far
	near.ID++
	for _, ctl := range []dist.Control{
		{Op: dist.OpLink, From: n.far, To: p.Self},
		{Op: dist.OpLink, From: near, To: p.Self},
		{Op: dist.OpUnlinkID, ID: 1, From: near, To: p.Self},
	} {
		there.Send(ctl, nil)
		got, _ := p.Next()
		require.Equal(t, ctl.Op, got.Op)
	}
	require.NoError(t, there.S.Close())
	arrives(t, b.l.Left(), "the end of the branch")
	require.NoError(t, box(t, n.Node).Send(soon(t), p.Self, ei.Atom("after")))
	ctl, reason := p.Next()
	require.Equal(t, p.Self, ctl.To)
	require.Equal(t, n.far, ctl.From)
	require.Equal(t, ei.Atom("killed"), reason)
	_, payload := p.Next()
	require.Equal(t, ei.Atom("after"), payload)
}

// A Send or Link to a process of another worker waits for the next way to that worker, until the
// worker has ended or the time is up.
func TestProcessOfWorkerApart(t *testing.T) {
	n := newWorld(t).torn(time.Hour)
	b := trapping(t, n.Node)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, b.Send(ctx, n.far, 1), context.Canceled)
	linked := async(func() (int, error) { return 0, b.Link(soon(t), n.far) })
	other := n.mend()
	ctl, _ := other.Next()
	require.Equal(t, dist.OpLink, ctl.Op)
	require.NoError(t, arrives(t, linked, "the link").err)

	require.NoError(t, other.S.Close())
	m, err := b.Receive(soon(t)) // the link is broken
	require.NoError(t, err)
	require.Equal(t, n.far, m.From)
	require.ErrorIs(t, b.Send(ctx, n.far, 1), context.Canceled)
	linked = async(func() (int, error) { return 0, b.Link(soon(t), n.far) })
	n.part.noteEnded(2)
	require.NoError(t, arrives(t, linked, "the link").err)
	m = receive(t, b)
	require.Equal(t, ei.Atom("noproc"), decode(t, m.Reason))
}

func TestProcessOfWorkerApartForLong(t *testing.T) {
	n := newWorld(t).torn(time.Millisecond)
	require.ErrorIs(t, box(t, n.Node).Send(soon(t), n.far, 1), nodes.ErrNoConnection)
}

// A new way to another worker is used, with what is in it, once the one before it has ended and the
// links over that are broken; a Send waits until then.
func TestSecondWayAwaitsFirst(t *testing.T) {
	n := newWorld(t).torn(time.Hour)
	b := trapping(t, n.Node)
	first := n.mend()
	require.NoError(t, b.Link(soon(t), n.far))
	ctl, _ := first.Next()
	require.Equal(t, dist.OpLink, ctl.Op)
	second := n.second(b.Pid(), ei.Int(2))
	require.NoError(t, b.Send(soon(t), n.far, ei.Int(1)))
	m := receive(t, b)
	require.Equal(t, dist.OpExit, m.Op)
	m = receive(t, b)
	require.Equal(t, ei.Int(2), content(t, m))
	_, payload := second.Next()
	require.Equal(t, ei.Int(1), payload)
	first.Gone()
}

// If a third way comes, it is the one that stays, whatever becomes of the second.
func TestThirdWayAwaitsSecond(t *testing.T) {
	for name, lost := range map[string]bool{"taken": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.torn(time.Hour)
			b := box(t, n.Node)
			first := n.mend()
			var second *wire
			if lost {
				n.part.addWorkerLink(&talk.WorkerLink{Part: 2})
			} else {
				second = n.mend()
			}
			third := n.second(b.Pid(), ei.Int(3))
			require.Equal(t, ei.Int(3), term(t, b))
			require.NoError(t, b.Send(soon(t), n.far, ei.Int(1)))
			_, payload := third.Next()
			require.Equal(t, ei.Int(1), payload)
			first.Gone()
			if second != nil {
				second.Gone()
			}
		})
	}
}

// If the node ends while a way waits for the end of the one before it, the waiting way ends too.
func TestSecondWayEndsWithNode(t *testing.T) {
	n := newWorld(t).torn(time.Hour)
	n.mend()
	second := n.second(ei.Pid{Node: ei.Atom(n.Name()), ID: 9, Serial: 1, Creation: n.Creation()}, ei.Int(1))
	require.NoError(t, n.Close())
	second.Gone()
}

// If a worker moves while a way waits for the end of the one before it, the waiting way moves too,
// with what is in it.
func TestSecondWayMoves(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	b := box(t, n.Node)
	first := n.mend()
	here, there, err := descriptor.StreamPair()
	require.NoError(t, err)
	n.part.ways.mu.Lock()
	n.part.coming[2] = []*talk.WorkerLink{{Part: 2, FD: here}}
	n.part.ways.mu.Unlock()
	second := n.end(there)
	second.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Int(2))
	f, stage := n.moves()
	require.NoError(t, stage().Discard())
	g := stage()
	require.NoError(t, f.Release())
	require.NoError(t, n.Close()) // this process closes what it has of the way
	require.NoError(t, g.Start(soon(t)))
	heirs := g.w.Mailboxes()
	require.Len(t, heirs, 1)
	require.Equal(t, ei.Int(2), term(t, heirs[0]))
	first.Gone()
	require.NoError(t, g.w.Close())
	second.Gone()
}

// A call to a process of another worker ends with the old process of a worker that moves. The other
// worker hears of it by the way between the two, and not by the way that it has to a peer: there
// the signal would pass for a forged one of the peer's.
func TestWorkerMovesBesideCall(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	p := n.mend()
	b := box(t, w.started("peer"))
	require.NoError(t, b.Link(soon(t), n.far))
	remoteLink := n.remoteLink()
	ctl, _ := remoteLink.Next()
	require.Equal(t, dist.OpLink, ctl.Op)
	call := async(func() (ei.Term, error) { return n.Call(w.ctx(), n.far, "hello") })
	ctl, _ = p.Next()
	require.Equal(t, dist.OpMonitorP, ctl.Op)
	ref := ctl.Ref
	p.Next() // the request

	f, stage := n.moves()
	g := stage()
	require.NoError(t, f.Release())
	require.ErrorIs(t, arrives(t, call, "the call's end").err, nodes.ErrMoved)
	require.NoError(t, n.Close())
	require.NoError(t, g.Start(soon(t)))
	ctl, _ = p.Next()
	require.Equal(t, dist.OpDemonitorP, ctl.Op)
	require.Equal(t, ref, ctl.Ref)
	require.NoError(t, b.Send(soon(t), n.far, "next"))
	ctl, _ = remoteLink.Next()
	require.Equal(t, dist.OpSendSender, ctl.Op)
	require.NoError(t, g.w.Close())
}

// A way that comes when the worker has closed its ways is closed, too: the other worker does not
// count on it.
func TestWayComesAtTheEnd(t *testing.T) {
	n := newWorld(t).torn(time.Hour)
	n.part.Close()
	n.mend().Gone()
}

// A message for an alias goes to the worker that has made it.
func TestHolderOfReference(t *testing.T) {
	n := newWorld(t).worker("front", time.Hour)
	own := of(n.NewRef()).must(t)
	require.Zero(t, n.Holder(own))
	far := own
	far.ID[2] += 1 << 16
	require.Equal(t, 2, n.Holder(far))
	short, before, other := far, far, far
	short.Len = 2
	before.Creation++
	other.Node = "other@test"
	for _, r := range []ei.Ref{short, before, other} {
		require.Zero(t, n.Holder(r))
	}
}
