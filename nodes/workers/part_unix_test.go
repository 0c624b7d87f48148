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
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A loneWorker is a worker whose front is the test.
type loneWorker struct {
	*node
	part  *part
	front *talk.Line
	asked chan talk.Message
}

// worker makes a worker whose front is to answer within a limit.
func (w *world) worker(alive string, limit time.Duration, edit ...func(*nodes.Config)) *loneWorker {
	t := w.t
	t.Helper()
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	a := of(handoff.FileConn(one)).must(t)
	b := of(handoff.FileConn(other)).must(t)
	ours := of(talk.New(a)).must(t)
	theirs := of(talk.New(b)).must(t)
	l := &loneWorker{node: insideOf(w.node(alive, edit...)), front: ours, asked: make(chan talk.Message, 64)}
	p := newPart(l.node, 1, theirs)
	l.part = p
	p.answerLimit = limit
	worker := newWorker(nil)
	worker.join(l.node, p)
	require.NoError(t, l.Start(w.ctx()))
	p.endSetup()
	heard := make(chan struct{})
	go func() { defer close(heard); _ = ours.Read(func(m talk.Message) { l.asked <- m }) }()
	worker.listen(nil)
	t.Cleanup(func() {
		ours.Close()
		for _, c := range []<-chan struct{}{heard, worker.Done(), ours.Wrote(), theirs.Wrote()} {
			arrives(t, c, "the end of the line")
		}
		for len(l.asked) > 0 { // one may have come with a descriptor
			talk.Drop(<-l.asked)
		}
	})
	return l
}

// What the front grants to a caller that has given up, or has stayed behind in the process before,
// is given back.
func TestGivesBackWhatNobodyAwaits(t *testing.T) {
	for _, tt := range []struct {
		question talk.Question
		granted  talk.Answer
		back     talk.Message
	}{
		{&talk.Register{Name: "joe"}, talk.Answer{OK: true}, &talk.Release{Name: "joe"}},
		{&talk.Claim{Peer: "a@b"}, talk.Answer{Part: 1}, &talk.Over{Peer: "a@b"}},
	} {
		n := newWorld(t).worker("front", tooLong)
		ctx, cancel := context.WithCancel(context.Background())
		gaveUp := async(func() (reply, error) { return n.part.ask(ctx, tt.question, nil) })
		asked := arrives(t, n.asked, "the question").(talk.Question)
		cancel()
		require.ErrorIs(t, arrives(t, gaveUp, "the end of ask").err, context.Canceled)
		tt.granted.ID = *asked.Number()
		require.True(t, n.front.Say(&tt.granted))
		require.Equal(t, tt.back, arrives(t, n.asked, "what is given back"))
		n.part.mu.Lock()
		require.Empty(t, n.part.asked)
		require.Empty(t, n.part.claimed)
		require.Empty(t, n.part.frontClaims)
		n.part.mu.Unlock()
	}
}

// What moves with a worker includes the names that the front has entered for it, so that the
// process it moves to gives those back which nobody there has, and the ways that other workers wait
// for.
func TestWorkerTakesAlongWhatFrontKnows(t *testing.T) {
	n := newWorld(t).worker("front", tooLong)
	known := func() (names, linkRequests int) {
		var s states.Worker
		n.part.mu.Lock()
		defer n.part.mu.Unlock()
		n.part.ways.mu.Lock()
		defer n.part.ways.mu.Unlock()
		n.part.snapshotKnown(&s)
		return len(s.Claimed), len(s.Meets)
	}
	b := box(t, n.Node)
	for _, granted := range []bool{false, true} {
		registered := async(func() (int, error) { return 0, n.Register(t.Context(), "joe", b) })
		asked := arrives(t, n.asked, "the question").(*talk.Register)
		names, _ := known()
		require.Zero(t, names)
		require.True(t, n.front.Say(&talk.Answer{ID: asked.ID, OK: granted}))
		err := arrives(t, registered, "the end of Register").err
		names, _ = known()
		if granted {
			require.NoError(t, err)
			require.Equal(t, 1, names)
		} else {
			require.ErrorIs(t, err, nodes.ErrNameTaken)
			require.Zero(t, names)
		}
	}
	require.True(t, n.part.ReleaseName("joe"))
	names, _ := known()
	require.Zero(t, names)

	n.Life.Set(life.Draining)
	for range 2 {
		n.part.beginLinkRequest(linkRequest{"bob@test", 2})
	}
	n.part.beginLinkRequest(linkRequest{"bob@test", 3})
	_, linkRequests := known()
	require.Equal(t, 2, linkRequests)
	n.Life.Set(life.Open)
	require.Eventually(t, func() bool { _, linkRequests := known(); return linkRequests == 0 }, tooLong, tick, "there is no connection")
}

// While the front does not answer, a name does not count as unregistered: a peer's message to it
// waits, however long that takes.
func TestReaderAwaitsFront(t *testing.T) {
	w := newWorld(t)
	n := w.worker("front", time.Millisecond)
	require.NoError(t, box(t, w.started("peer")).SendName(soon(t), n.Name(), "joe", 1))
	asked := arrives(t, n.asked, "the question").(*talk.Lookup)
	own := box(t, n.Node)
	for range 10 { // each takes as long as the limit
		require.ErrorIs(t, own.SendName(soon(t), n.Name(), "ann", 1), context.DeadlineExceeded)
	}
	_, err := own.MonitorName(soon(t), n.Name(), "ann")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, n.Stats().Undeliverable)
	require.NoError(t, n.Named("joe", own)) // the name is registered meanwhile
	require.True(t, n.front.Say(&talk.Answer{ID: asked.ID, OK: true, Part: n.part.id}))
	require.Equal(t, ei.Int(1), term(t, own))
}

// Sending to a name, or monitoring it, waits for the front only until the caller's context ends.
func TestSenderAwaitsFront(t *testing.T) {
	n := newWorld(t).worker("front", time.Hour)
	own := box(t, n.Node)
	for _, what := range []func(ctx context.Context) error{
		func(ctx context.Context) error { return own.SendName(ctx, n.Name(), "ann", 1) },
		func(ctx context.Context) error { _, err := own.MonitorName(ctx, n.Name(), "ann"); return err },
	} {
		ctx, cancel := context.WithCancel(context.Background())
		done := async(func() (int, error) { return 0, what(ctx) })
		arrives(t, n.asked, "the question")
		cancel()
		require.ErrorIs(t, arrives(t, done, "its end").err, context.Canceled)
	}
	sent := async(func() (int, error) { return 0, own.SendName(context.Background(), n.Name(), "ann", 1) })
	arrives(t, n.asked, "the question")
	n.EndAs(nodes.ErrMoved) // as Release does
	n.part.line.Close()
	require.ErrorIs(t, arrives(t, sent, "its end").err, nodes.ErrMoved)
}

// A stranger who uses a peer's name does not end this worker's remote link of the peer's
// connection; a connection of the peer itself does.
func TestStrangerBesideShadow(t *testing.T) {
	w := newWorld(t)
	n := w.worker("front", time.Hour)
	here, there, err := descriptor.StreamPair()
	require.NoError(t, err)
	defer descriptor.Close(there)
	n.part.addRemoteLink(&talk.RemoteLink{Part: 2, Peer: &dist.Peer{Name: "peer@test", Creation: 5, Flags: dist.FlagsDefault}, FD: here})
	remoteLink := n.Conn("peer@test")
	require.NotNil(t, remoteLink)
	l := n.Listeners()[0]
	stranger := role("peer@test")
	stranger.Cookie = "guess"
	require.Error(t, w.wire(l).Initiate(stranger))
	require.NoError(t, remoteLink.Err())
	require.Equal(t, remoteLink, n.Conn("peer@test"))

	w.peer(l, role("peer@test"))
	require.ErrorIs(t, ended(t, remoteLink), nodes.ErrSuperseded)
	require.Eventually(t, func() bool { c := n.Conn("peer@test"); return c != nil && !n.Ties(c).IsRemote }, tooLong, tick)
}

// A message passed on by another worker to a process that has ended is dropped: it does not go to
// the process that has the name by now, and the front is not asked.
func TestPassedOnGoesNoFurther(t *testing.T) {
	n := newWorld(t).worker("front", time.Hour)
	here, there, err := descriptor.StreamPair()
	require.NoError(t, err)
	peer := dist.Peer{Name: "peer@test", Creation: 5, Flags: dist.FlagsDefault, Version: dist.Version6}
	n.part.addRemoteLink(&talk.RemoteLink{Part: 2, Peer: &peer, FD: here})
	s := of(transport.Unix().Import(there, nil)).must(t)
	p := &wire{&rawpeer.Peer{T: t, S: s, Node: peer, Self: ei.Pid{Node: "peer@test", ID: 1, Creation: 5}}}
	defer p.Close()
	ref := ei.Ref{Node: "peer@test", Creation: 5, Len: 3, ID: [5]uint32{1, 2, 3}}
	p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, ToName: "joe", Ref: ref}, nil)
	down, reason := p.Next()
	require.Equal(t, ref, down.Ref)
	require.Equal(t, ei.Atom("noproc"), reason)
	require.Empty(t, n.asked)
}

// A connection can end while its reader waits for a front that hangs, or for news of a worker.
func TestReaderEndsWithConnection(t *testing.T) {
	for name, send := range map[string]func(n *loneWorker, b *nodes.Mailbox) error{
		"the front": func(n *loneWorker, b *nodes.Mailbox) error { return b.SendName(soon(t), n.Name(), "joe", 1) },
		"a worker":  func(n *loneWorker, b *nodes.Mailbox) error { return b.Send(soon(t), n.pidOf(3), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.worker("front", time.Hour)
			n.part.numberLimit = time.Hour
			require.NoError(t, send(n, box(t, w.started("peer"))))
			c := w.reading(n.Node)
			inTime(t, "Close", func() { require.NoError(t, c.Close()) })
			arrives(t, linkOf(c).Left(), "the end")
			require.EqualValues(t, 1, n.Stats().Undeliverable)
		})
	}
}

// A reader that waits for news of a worker halts at once, and delivers the message in hand when it
// goes on.
func TestReaderHaltsBeforeNumber(t *testing.T) {
	w := newWorld(t)
	n := w.worker("front", time.Hour)
	n.part.numberLimit = time.Hour
	require.NoError(t, box(t, w.started("peer")).Send(soon(t), n.pidOf(3), 1))
	c := w.reading(n.Node)
	require.NoError(t, linkOf(c).StopReading(soon(t)))
	n.part.addWorkerLink(&talk.WorkerLink{Part: 3})
	linkOf(c).ResumeReading()
	for {
		asked := arrives(t, n.asked, "the way")
		talk.Drop(asked)
		if link, ok := asked.(*talk.RemoteLink); ok {
			require.Equal(t, 3, link.Part)
			return
		}
	}
}

// If the front ends, whoever waits for it fails at once: who has asked it, and who waits for a way
// to a peer or to another worker, which only the front could give.
func TestFrontEndsWhileAsked(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, n *loneWorker) error{
		"a name":     func(ctx context.Context, n *loneWorker) error { _, err := n.Lookup(ctx, "joe"); return err },
		"a new name": func(ctx context.Context, n *loneWorker) error { return n.Register(ctx, "joe", box(t, n.Node)) },
		"a claim":    func(ctx context.Context, n *loneWorker) error { _, err := n.part.Claim(ctx, "a@test"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			n := newWorld(t).worker("front", time.Hour)
			done := async(func() (int, error) { return 0, ask(context.Background(), n) })
			arrives(t, n.asked, "the question")
			n.front.Close()
			require.ErrorIs(t, arrives(t, done, "its end").err, nodes.ErrClosed)
		})
	}
	t.Run("a way to a peer", func(t *testing.T) {
		n := newWorld(t).worker("front", time.Hour)
		done := async(func() (int, error) { _, err := n.part.Claim(context.Background(), "a@test"); return 0, err })
		asked := arrives(t, n.asked, "the question").(*talk.Claim)
		require.True(t, n.front.Say(&talk.Answer{ID: asked.ID, Part: 2}))
		n.front.Close()
		require.ErrorIs(t, arrives(t, done, "its end").err, nodes.ErrClosed)
	})
	for name, latest := range map[string]int{"a worker": 2, "a new worker": 1} {
		t.Run(name, func(t *testing.T) {
			n := newWorld(t).worker("front", time.Hour)
			n.part.numberLimit = time.Hour
			n.part.ways.mu.Lock()
			n.part.latest, n.part.crew[2] = latest, latest == 2
			n.part.ways.mu.Unlock()
			done := async(func() (int, error) { _, err := n.part.Reach(context.Background(), 2); return 0, err })
			n.front.Close()
			require.ErrorIs(t, arrives(t, done, "its end").err, nodes.ErrClosed)
		})
	}
}

// pidOf is a process of another worker.
func (n *loneWorker) pidOf(part uint32) ei.Pid {
	return ei.Pid{Node: ei.Atom(n.Name()), ID: 1, Serial: part, Creation: n.Creation()}
}

// reading waits until the reader of a node's connection to peer@test has a message in hand.
func (w *world) reading(n *nodes.Node) (c *nodes.Conn) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		up := n.Conn("peer@test")
		if up == nil || linkOf(up).Traffic().MessagesReceived == 0 {
			return false
		}
		c = up
		return true
	}, tooLong, tick)
	return c
}

// Numbers of workers begin again after the highest. Then, too, a reader waits for a worker that
// this one has not heard of, but not for one that has ended.
func TestNumbersBeginAgain(t *testing.T) {
	p := newWorld(t).worker("front", time.Second).part
	over, cancel := context.WithCancel(soon(t))
	cancel()
	for _, c := range []struct {
		latest, id int
		isNewer    bool
	}{
		{1, 2, true}, {1, 1, false}, {2, 1, false}, {states.MaxPart - 1, states.MaxPart, true}, {states.MaxPart, 1, true},
		{states.MaxPart - 1, 3, true},
		{3, states.MaxPart - 1, false}, {states.MaxPart, states.MaxPart - 1, false}, {5000, 3, false},
	} {
		p.ways.mu.Lock()
		p.latest, p.crew = c.latest, map[int]bool{}
		p.ways.mu.Unlock()
		lives, err := p.lives(over, c.id)
		require.False(t, lives)
		require.Equal(t, c.isNewer, err != nil, "%d after %d: %v", c.id, c.latest, err)
	}
	p.ways.mu.Lock()
	p.crew[2] = true
	p.ways.mu.Unlock()
	require.True(t, of(p.lives(over, 2)).must(t))
}

// The newest worker's number is the one that the front says, even if older workers have higher
// numbers.
func TestNumbersOfOldWorkers(t *testing.T) {
	w := newWorld(t)
	p := w.worker("front", time.Second).part
	for _, c := range []struct {
		before int
		w      talk.WorkerLink
		want   int
	}{
		{5000, talk.WorkerLink{Part: 1, Newest: 5000}, 5000}, {1, talk.WorkerLink{Part: 5000, Newest: 5000}, 5000},
		{states.MaxPart, talk.WorkerLink{Part: 1, Newest: 1}, 1},
		{5000, talk.WorkerLink{Part: 1}, 5000}, {1, talk.WorkerLink{Part: 2}, 1}, // the way is lost
	} {
		p.ways.mu.Lock()
		p.latest = c.before
		p.ways.mu.Unlock()
		p.addWorkerLink(&c.w)
		p.ways.mu.Lock()
		require.Equal(t, c.want, p.latest, "%+v", c.w)
		p.ways.mu.Unlock()
	}
}

// If a connection has broken, and does not move with its worker, the front no longer counts it.
func TestDeadConnectionIsOver(t *testing.T) {
	w := newWorld(t)
	n := w.worker("front", time.Second)
	worker := newWorker(nil)
	worker.n, worker.p = n.node, n.part
	f := new(nodes.Frozen)
	n.part.newFrontClaim("dead@test")
	e := &workerEstate{Frozen: f, w: worker, table: n.TableOf(f), moves: map[inside.Claim]bool{n.part.newFrontClaim("alive@test"): true}}
	require.NoError(t, e.snapshot(t.Context()))
	var s states.Worker
	require.NoError(t, form.Read(states.KindWorker, e.state, &s))
	require.Equal(t, []states.Name{{Name: "dead@test"}}, s.Over)
}

// Answers to a process of a worker that nobody has heard of hold up neither a server nor the reader
// of the connection. If there soon is such a worker, it gets the server's.
func TestAnswersToUnknownWorker(t *testing.T) {
	w := newWorld(t)
	n := &torn{loneWorker: w.worker("front", time.Hour), w: w}
	n.part.numberLimit = time.Hour
	n.far = n.pidOf(2)
	server := serve(t, n.Node, "", echoes)
	peer := w.started("peer")
	b := box(t, peer)
	call := func(from ei.Pid, request ei.Term) ei.Term {
		return ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, ei.Binary("tag")}, request}
	}
	require.NoError(t, b.Send(soon(t), server.Pid(), call(n.far, ei.Atom("x"))))
	for range 2 * 16 {
		require.NoError(t, b.Send(soon(t), server.Pid(), call(n.pidOf(3), ei.Atom("y"))))
	}
	require.NoError(t, b.SendName(soon(t), n.Name(), "net_kernel", call(n.far, ei.Tuple{ei.Atom("is_auth"), ei.Atom("peer@test")})))
	require.Equal(t, ei.Int(1), of(peer.Call(soon(t), server.Pid(), ei.Int(1))).must(t))
	ctl, answer := n.mend().Next()
	require.Equal(t, n.far, ctl.To)
	require.Equal(t, ei.Tuple{ei.Binary("tag"), ei.Atom("x")}, answer)
}

// Answers to a process of a worker that reads nothing hold up no server.
func TestAnswersToDeafWorker(t *testing.T) {
	w := newWorld(t)
	n := &torn{loneWorker: w.worker("front", time.Hour), w: w}
	n.far = n.pidOf(2)
	server := serve(t, n.Node, "", echoes)
	n.mend()
	peer := w.started("peer")
	b := box(t, peer)
	for range 6 {
		call := ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{n.far, ei.Binary("tag")}, make(ei.Binary, 1<<20)}
		require.NoError(t, b.Send(soon(t), server.Pid(), call))
	}
	require.Equal(t, ei.Int(1), of(peer.Call(soon(t), server.Pid(), ei.Int(1))).must(t))
}
