//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// When a node moves, no mailbox that monitors nodes gets a false nodedown or nodeup, and all go on
// getting true ones.
func TestMonitorNodesMove(t *testing.T) {
	w := newWorld(t, movers[0])
	peer := w.started("peer")
	other := w.started("other")
	var asks bool
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			b, err := n.register("watch", nil, nil)
			if err == nil && asks {
				_, err = b.MonitorNodes(context.Background(), AllNodes)
			}
			return err
		}
	})
	of(n.Whereis("watch").MonitorNodes(context.Background(), AllNodes)).must(t)
	nameless := box(t, n).Pid()
	of(n.procs.local(nameless).MonitorNodes(context.Background(), HiddenNodes)).must(t)
	connect(t, n, "peer@test")
	for range 4 {
		asks = !asks // again, as a program's own Setup would, or not
		n = upgrade(t, n)
	}
	connect(t, n, "other@test")
	require.NoError(t, w.conn(peer, "front@test").Close())
	for _, b := range []*Mailbox{n.Whereis("watch"), n.procs.local(nameless)} {
		require.Equal(t, []string{
			nodeNews("nodeup", "peer@test", "hidden"), nodeNews("nodeup", "other@test", "hidden"), nodeNews("nodedown", "peer@test", "hidden"),
		}, texts(t, b, 3))
	}

	// It goes down while nobody looks.
	f := freeze(t, n)
	require.NoError(t, other.Close())
	s := restore(t, again(n), f)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(w.ctx()))
	require.Equal(t, []string{nodeNews("nodedown", "other@test", "hidden")}, texts(t, s.Node().Whereis("watch"), 1))
	require.Zero(t, unread(s.Node().Whereis("watch")))
}

// listOf is a list of a state that is written.
func listOf[T any](all ...T) form.List[T] {
	return form.List[T]{All: func(yield func(*T, error) bool) {
		for i := range all {
			if !yield(&all[i], nil) {
				return
			}
		}
	}}
}

// A node whose connection did not move along is reported as down, and what processes had with it is
// broken; before it is up again, if it connects as soon as the node goes on.
func TestMonitorNodesLostAndFound(t *testing.T) {
	w := newWorld(t, "memory")
	w.started("peer")
	self := func(id uint32) ei.Pid { return ei.Pid{Node: "front@test", ID: id, Creation: 7} }
	theirs := ei.Pid{Node: "peer@test", ID: 1, Creation: 9}
	state, err := form.Write(t.Context().Err, states.KindNode,
		&states.Node{Name: "front@test", Creation: 7, Pids: 9, Started: true, Mailboxes: listOf(states.Mailbox{
			Bonds: states.Bonds{Pid: self(1), Links: []states.Link{{Pid: theirs, Active: true}}}, TrapExit: true,
			NodeTypes: int(AllNodes), NodesUp: []states.Up{{Node: "lost@test", Visible: true}, {Node: "peer@test", Visible: false}},
		}, states.Mailbox{
			Bonds: states.Bonds{Pid: self(2)}, Names: []states.Name{{Name: "late"}},
			Messages: listOf(states.Message{Control: dist.Control{Op: dist.OpSend, To: self(2)}, Payload: ei.AppendNil(nil)}),
		})})
	require.NoError(t, err)
	connected := make(chan result[*Conn], 1)
	s, err := Restore(Config{Cookie: "secret", Transport: w.tr, Resolver: w.book, Setup: func(n *Node) error {
		go func() { connected <- of(n.Connect(w.ctx(), "peer@test")) }()
		return nil
	}}, state, nil)
	require.NoError(t, err)
	defer s.Node().Close()
	b := s.Mailboxes()[0]
	require.NoError(t, s.Start(w.ctx()))
	downs := []string{nodeNews("nodedown", "lost@test", "visible"), nodeNews("nodedown", "peer@test", "hidden")}
	require.ElementsMatch(t, downs, texts(t, b, 2))
	m := receive(t, b)
	if m.Op == dist.OpExit { // either may come first
		require.Equal(t, []string{nodeNews("nodeup", "peer@test", "hidden")}, texts(t, b, 1))
	} else {
		requireExit(t, b, theirs, "noconnection")
	}
}

// If a connection moves alone, there is no nodedown where it was, and a nodeup where it comes.
func TestMonitorNodesDetach(t *testing.T) {
	w := newWorld(t, movers[0])
	w.started("peer")
	r := w.shuttle("peer@test", true)
	var boxes []*Mailbox
	for _, n := range r.n {
		boxes = append(boxes, box(t, n))
		of(boxes[len(boxes)-1].MonitorNodes(context.Background(), AllNodes)).must(t)
	}
	r.move()
	require.Equal(t, []string{nodeNews("nodeup", "peer@test", "hidden")}, texts(t, boxes[1], 1))
	r.move() // back: for the first node nothing has changed
	r.move()
	require.NoError(t, r.c.Close())
	require.Equal(t, []string{nodeNews("nodedown", "peer@test", "hidden")}, texts(t, boxes[1], 1))
	require.Zero(t, unread(boxes[0]))

	connect(t, r.n[0], "peer@test")
	require.NoError(t, r.n[0].Conn("peer@test").Close())
	require.Equal(t, []string{nodeNews("nodedown", "peer@test", "hidden")}, texts(t, boxes[0], 1), "and no nodeup before")
	connect(t, r.n[0], "peer@test")
	require.Equal(t, []string{nodeNews("nodeup", "peer@test", "hidden")}, texts(t, boxes[0], 1))

	r.here, r.c = 0, r.n[0].Conn("peer@test")
	r.move()
	up := of(boxes[0].MonitorNodes(context.Background(), AllNodes)).must(t) // begins anew: that node is not up
	require.Empty(t, up)
	r.here = 1
	r.move()
	require.Equal(t, []string{nodeNews("nodeup", "peer@test", "hidden")}, texts(t, boxes[0], 1))
}

// While the node is frozen nothing comes; after Thaw the loop goes on. When another process goes on
// as the node, the loop ends without a down, and one there begins with what is up.
func TestWatchNodesMove(t *testing.T) {
	w := newWorld(t, movers[0])
	w.started("peer")
	n := w.started("front")
	connect(t, n, "peer@test")
	up := NodeEvent{Node: "peer@test", Up: true, Type: HiddenNodes}
	events, over := watching(t, n)
	require.Equal(t, up, arrives(t, events, "what is up"))
	f := freeze(t, n)
	f.Thaw()
	other := w.started("other")
	connect(t, other, "front@test")
	require.Equal(t, NodeEvent{Node: "other@test", Up: true, Type: HiddenNodes}, arrives(t, events, "the loop goes on"))
	require.NoError(t, other.Close())
	require.False(t, arrives(t, events, "the loop goes on").Up)

	later := upgrade(t, n)
	arrives(t, over, "the end of the loop")
	select {
	case e := <-events:
		require.Fail(t, "an event of a node that has moved", "%v", e)
	default:
	}
	events, _ = watching(t, later)
	require.Equal(t, up, arrives(t, events, "what is up"))
	require.NoError(t, later.Conn("peer@test").Close())
	require.Equal(t, DownClosedHere, arrives(t, events, "the end").Why)
}

// A connection that moves alone is a down where it was, and an up where it comes.
func TestWatchNodesDetach(t *testing.T) {
	w := newWorld(t, movers[0])
	w.started("peer")
	r := w.shuttle("peer@test", true)
	from, _ := watching(t, r.n[0])
	to, _ := watching(t, r.n[1])
	require.True(t, arrives(t, from, "what is up").Up)
	r.move()
	e := arrives(t, from, "it is away")
	require.Equal(t, NodeEvent{Node: "peer@test", Type: HiddenNodes, Why: DownMoved, Err: ErrMoved}, e)
	require.True(t, arrives(t, to, "it has come").Up)
}
