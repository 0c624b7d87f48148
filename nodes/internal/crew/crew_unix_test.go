//go:build unix

package crew

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/process"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A worker that dies just as the front is frozen is off the crew before the front is described: its
// descriptors are being closed, and their numbers may soon be reused.
func TestFreezeBesideDeath(t *testing.T) {
	for _, finds := range []string{"reader", "writer"} {
		t.Run(finds, func(t *testing.T) {
			c := New(config(1))
			ours, theirs, err := handoff.PacketPair()
			require.NoError(t, err)
			socket, err := handoff.FileConn(ours)
			require.NoError(t, err)
			w := c.worker(0)
			w.line, err = talk.New(socket)
			require.NoError(t, err)
			w.number, w.proc = 1, &process.Process{}
			c.workers[w.number] = w
			require.NoError(t, theirs.Close())
			if finds == "reader" {
				// attend has not yet gone on to close the line
				require.Error(t, w.line.Read(func(talk.Message) {}))
			} else {
				require.True(t, w.Say(&talk.Probe{}))
				arrives(t, w.line.Wrote(), "the end of the writer")
			}
			short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, c.pauseLines(short), context.DeadlineExceeded, "the worker is there still")

			w.line.Close()
			arrives(t, w.line.Wrote(), "the end of the writer")
			hushed := make(chan error, 1)
			go func() { hushed <- c.pauseLines(t.Context()) }()
			_, goesOn := c.discharge(w)
			require.False(t, goesOn)
			require.NoError(t, arrives(t, hushed, "the freeze"))
			require.Empty(t, c.workers)
		})
	}
}

// config is that of a crew whose processes are never started.
func config(count int) Config {
	return Config{
		Count: count, Patience: time.Minute, Start: time.Minute, Farewell: time.Minute, Retire: time.Minute,
		Choose: func(string, []Info) (int, error) { return 0, nil }, Log: slog.New(slog.DiscardHandler), Closed: net.ErrClosed,
	}
}

const (
	tooLong = time.Minute
	tick    = time.Millisecond
)

// arrives waits for what a channel is to bring.
func arrives[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(tooLong):
		require.FailNow(t, what+" does not come")
	}
	return v
}

// stillCrew is a crew whose workers have no processes, and whose lines stand still: what is said
// to them waits there.
func stillCrew(t *testing.T, count int) (*Crew, []*Worker) {
	t.Helper()
	c := New(config(count))
	var all []*Worker
	for slot := range count {
		ours, theirs, err := handoff.PacketPair()
		require.NoError(t, err)
		t.Cleanup(func() { theirs.Close() })
		socket, err := handoff.FileConn(ours)
		require.NoError(t, err)
		w := c.worker(slot)
		w.line, err = talk.Staged(socket, nil)
		require.NoError(t, err)
		t.Cleanup(func() { w.line.Close(); <-w.line.Wrote() })
		w.number, w.ready, w.proc = slot+1, true, process.Adopt(4711, -1)
		c.workers[w.number] = w
		all = append(all, w)
	}
	return c, all
}

// said takes what waits to be said to a worker.
func (w *Worker) said() []talk.Message {
	return w.line.Unsaid()
}

// A worker's message takes effect only on what belongs to that worker, and only when it is due.
func TestMessagesOfWorkers(t *testing.T) {
	c, all := stillCrew(t, 2)
	one, two := all[0], all[1]
	tell := func(w *Worker, m talk.Message) { w.take(m) }

	tell(one, &talk.Register{ID: 1, Name: "x", Key: 7})
	tell(two, &talk.Register{ID: 2, Name: "x", Key: 8})
	tell(two, &talk.Release{Name: "x"})
	tell(two, &talk.Lookup{ID: 3, Name: "x"})
	require.Equal(t, []talk.Message{&talk.Answer{ID: 1, OK: true}}, one.said())
	require.Equal(t, []talk.Message{&talk.Answer{ID: 2}, &talk.Answer{ID: 3, OK: true, Part: 1, Number: 7}}, two.said())
	tell(one, &talk.Release{Name: "x"})
	tell(two, &talk.Register{ID: 4, Name: "x", Key: 8})
	require.Equal(t, []talk.Message{&talk.Answer{ID: 4, OK: true}}, two.said())

	one.moves, one.moving = 2, make(chan talk.Message, 2)
	tell(one, &talk.Stayed{Move: 1, Why: "of an earlier move"})
	tell(one, &talk.Stayed{Move: 2, Why: "of this one"})
	require.Equal(t, &talk.Stayed{Move: 2, Why: "of this one"}, <-one.moving)
	require.Empty(t, one.moving)
	one.moving = nil

	tell(one, &talk.Claim{ID: 5, Peer: "peer@test"})
	tell(one, &talk.Up{Key: "peer@test", Peer: "peer@test"})
	require.Equal(t, []talk.Message{&talk.Answer{ID: 5, Part: 1}}, one.said())
	tell(one, &talk.CloseConn{Peer: "peer@test"})
	require.Empty(t, one.said(), "it has closed the connection itself")
	tell(two, &talk.CloseConn{Peer: "peer@test"})
	require.Equal(t, []talk.Message{&talk.CloseConn{Peer: "peer@test", Closed: true}}, one.said())
	tell(two, &talk.Claim{ID: 6, Peer: "peer@test"})
	require.Equal(t, []talk.Message{&talk.Answer{ID: 6, Part: 1}}, two.said())
	require.Equal(t, []talk.Message{&talk.LinkRequest{Peer: "peer@test", Part: 2}}, one.said())
	// its descriptor was lost
	tell(one, &talk.RemoteLink{Part: 2, Peer: &dist.Peer{Name: "peer@test"}})
	require.Equal(t, []talk.Message{&talk.NoConn{Peer: "peer@test", Part: 1}}, two.said())
	tell(one, &talk.RemoteLink{Part: 9, Peer: &dist.Peer{Name: "peer@test"}})
	tell(one, &talk.RemoteLink{Part: 2})
	tell(one, &talk.Took{Via: 99})
	require.Empty(t, two.said())

	tell(one, &talk.Over{Peer: "peer@test"})
	require.Empty(t, c.routes)
	require.Zero(t, one.sessions)
}

// A worker whose peer has proved itself keeps that peer when a session of another worker has only
// given the peer's name, and loses it when that session's peer proves itself as well.
func TestRoutesOfPeers(t *testing.T) {
	c, all := stillCrew(t, 2)
	one, two := all[0], all[1]
	const peer = "peer@test"
	c.enter(one, peer)
	c.up(one, peer, peer)
	c.enter(two, peer)
	require.Same(t, one, c.routes[peer].at)
	require.Empty(t, one.said())
	c.up(two, peer, peer)
	require.Same(t, two, c.routes[peer].at)
	require.Equal(t, []talk.Message{&talk.CloseConn{Peer: peer}}, one.said())
	require.Empty(t, two.said())
	c.leave(two, peer)
	require.Same(t, one, c.routes[peer].at)
	require.False(t, c.routes[peer].proven)
	c.leave(one, peer)
	c.leave(one, peer)
	require.Empty(t, c.routes)

	c.enter(one, "") // it asks for a name
	before := one.sessions
	c.up(one, "", "dynamic@test")
	require.Equal(t, map[*Worker]int{one: 1}, c.routes["dynamic@test"].held)
	require.Equal(t, before, one.sessions, "it is the same one")

	probe := make(chan struct{})
	one.probes[1] = probe
	c.names["x"] = tenancy{one, 7}
	_, goesOn := c.discharge(one)
	require.False(t, goesOn)
	arrives(t, probe, "the end of the probe")
	require.Empty(t, c.routes)
	require.Empty(t, c.names)
	require.Equal(t, []talk.Message{&talk.NoConn{Part: one.number}}, two.said())
}

// A session goes to the worker that has its peer, unless that worker has to be passed over, and
// never to a worker that takes no more sessions.
func TestPickWorker(t *testing.T) {
	c, all := stillCrew(t, 2)
	one, two := all[0], all[1]
	const peer = "peer@test"
	c.cfg.Choose = func(_ string, candidates []Info) (int, error) { return len(candidates), nil }
	_, _, err := c.pick(peer, peer, nil)
	require.ErrorIs(t, err, ErrNoWorker, "there is no such worker")
	bug := errors.New("a bug")
	c.cfg.Choose = func(string, []Info) (int, error) { return 0, bug }
	_, _, err = c.pick(peer, peer, nil)
	require.ErrorIs(t, err, ErrNoWorker)
	require.ErrorIs(t, err, bug)
	require.Empty(t, c.picked)
	c.cfg.Choose = func(_ string, candidates []Info) (int, error) { // the one with the fewest sessions
		return slices.Index(candidates, slices.MinFunc(candidates, func(a, b Info) int { return a.Sessions - b.Sessions })), nil
	}
	pick := func(passed ...*Worker) *Worker {
		t.Helper()
		over := map[*Worker]bool{}
		for _, w := range passed {
			over[w] = true
		}
		k, change, err := c.pick(peer, peer, over)
		require.NoError(t, err)
		if k == nil {
			require.NotNil(t, change)
			return nil
		}
		require.Equal(t, k.w == one, k.pinned)
		c.unpick(k)
		return k.w
	}
	c.enter(one, peer)
	c.up(one, peer, peer)
	full := make([]*session, MaxUntaken)
	require.Same(t, one, pick())
	require.Same(t, two, pick(one))
	one.untaken[talk.ViaLine] = full
	require.Same(t, two, pick())
	two.untaken[talk.ViaForwarder] = full
	require.Nil(t, pick())
	one.untaken[talk.ViaLine] = nil
	one.moving = make(chan talk.Message)
	two.untaken[talk.ViaForwarder] = nil
	require.Nil(t, pick(), "it is awaited")
	one.moving = nil
	one.ready = false
	require.Same(t, two, pick())
	two.hangs = true
	require.Nil(t, pick())
}

// A worker that leaves a probe unanswered counts as hanging until it is heard of: meanwhile nobody
// probes it for a new session.
func TestWorkerDoesNotAnswer(t *testing.T) {
	c, all := stillCrew(t, 1)
	w := all[0]
	ended, end := context.WithCancel(t.Context())
	end()
	require.False(t, w.there(ended, time.Minute))
	require.False(t, w.hangs, "it had no time to answer")
	require.False(t, w.there(t.Context(), time.Nanosecond))
	require.True(t, w.hangs)
	require.Empty(t, w.probes)
	k, change, err := c.pick("peer@test", "peer@test", nil)
	require.NoError(t, err)
	require.Nil(t, k)
	w.take(&talk.Here{ID: w.probed})
	arrives(t, change, "the change")
	require.False(t, w.hangs)
}

// A session that its worker does not take in time ends, for the peer too, and the worker counts as
// hanging. While the worker moves, and when this process has stood still, there is more time.
func TestSessionIsNotTaken(t *testing.T) {
	c, all := stillCrew(t, 1)
	w := all[0]
	c.cfg.Patience = time.Hour
	one, other, err := descriptor.StreamPair()
	require.NoError(t, err)
	peer := descriptor.File(other)
	defer peer.Close()
	s := &session{s: keptSocket(one), peer: "peer@test"}
	w.untaken[talk.ViaForwarder] = []*session{s}
	w.awaitTaken(s)
	require.True(t, s.timer.Stop())

	w.moving = make(chan talk.Message)
	s.due = time.Now().Add(-time.Minute)
	w.recall(s)
	require.True(t, s.timer.Stop(), "it is looked at again")
	require.False(t, s.late)
	require.Positive(t, time.Until(s.due))
	w.moving = nil
	s.due = time.Now().Add(-time.Minute)
	w.recall(s)
	require.True(t, s.timer.Stop(), "it is looked at again")
	require.True(t, s.late)
	require.False(t, s.withdrawn)
	require.False(t, w.hangs)
	w.recall(s)
	require.True(t, s.withdrawn)
	require.True(t, w.hangs)
	_, err = peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, w.burden(), "the worker takes it out of its socket still")

	w.took(talk.ViaForwarder)
	require.Zero(t, w.burden())
	w.hangs = false
	w.recall(&session{s: keptSocket(-1), late: true})
	require.False(t, w.hangs, "it has been taken")
}

// A worker that does not take the sessions that it was given does not begin to move, and gets
// sessions again.
func TestMoveAwaitsSessions(t *testing.T) {
	c, all := stillCrew(t, 1)
	w := all[0]
	c.cfg.Patience = time.Millisecond
	w.untaken[talk.ViaLine] = []*session{{withdrawn: true, timer: time.NewTimer(0)}}
	later := time.Now().Add(time.Hour)
	w.heard.Store(&later) // it need not be probed
	change := c.change.Next()
	require.ErrorContains(t, c.awaitAllTaken(w, make(chan talk.Message, 1)), "does not take its sessions")
	require.Nil(t, w.moving)
	arrives(t, change, "the change")

	c.cfg.Patience = time.Minute
	heard := make(chan talk.Message, 1)
	waited := make(chan error, 1)
	go func() { waited <- c.awaitAllTaken(w, heard) }()
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return w.moving != nil && c.change.Awaited() }, tooLong, tick)
	w.take(&talk.Took{Via: talk.ViaLine})
	require.NoError(t, arrives(t, waited, "the worker"))
	require.NotNil(t, w.moving)
}

// The state of a front leaves out the sessions that are cut off: those that were not given to a
// worker yet.
func TestFrontDescribesItsRoutes(t *testing.T) {
	c, all := stillCrew(t, 2)
	one, two := all[0], all[1]
	for _, peer := range []string{"both@test", "new@test"} {
		c.enter(one, peer)
	}
	c.enter(two, "both@test")
	c.up(two, "both@test", "both@test")
	one.hangs, one.moves = true, 5
	one.said()
	for _, peer := range []string{"both@test", "new@test"} {
		c.picked[&picking{w: one, peer: peer}] = true
	}
	gone := &session{peer: "both@test", withdrawn: true}
	one.untaken[talk.ViaLine] = []*session{gone}
	c.enter(one, "both@test")
	var s states.Front
	require.NoError(t, c.Describe(new(descriptor.Table), &s))
	require.Len(t, s.Routes, 1)
	r := s.Routes[0]
	require.Equal(t, "both@test", r.Peer)
	require.Equal(t, two.number, r.At)
	require.True(t, r.Proven)
	require.ElementsMatch(t, []states.Held{{Part: one.number, Count: 1}, {Part: two.number, Count: 1}}, r.Held)
	for _, c := range s.Crew {
		switch c.Part {
		case one.number:
			require.Equal(t, 1, c.Sessions)
			require.True(t, c.Hangs)
			require.EqualValues(t, 5, c.Moves)
			require.Equal(t, []states.Session{{Via: talk.ViaLine, Peer: "both@test"}}, c.Untaken)
		case two.number:
			require.Equal(t, 1, c.Sessions)
			require.False(t, c.Hangs)
		}
	}
}
