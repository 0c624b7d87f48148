package nodes

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// texts receives that many messages, as text.
func texts(t testing.TB, b *Mailbox, n int) (list []string) {
	t.Helper()
	for range n {
		list = append(list, term(t, b).(interface{ String() string }).String())
	}
	return list
}

func nodeNews(what, node, kind string) string {
	return "{" + what + "," + node + ",[{node_type," + kind + "}]}"
}

// A mailbox gets a node's nodeup, the node's first and last message, and its nodedown in this
// order, again and again.
func TestMonitorNodesInOrder(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		here, there := box(t, a), box(t, b)
		require.Empty(t, of(here.MonitorNodes(context.Background(), AllNodes)).must(t))
		for i := range 50 {
			require.NoError(t, there.Send(w.ctx(), here.Pid(), ei.Int(i))) // connects
			require.Equal(t, []string{nodeNews("nodeup", "bob@test", "hidden"), ei.Int(i).String()}, texts(t, here, 2))
			c := b.Conn("alice@test")
			if i%2 == 0 {
				c = a.Conn("bob@test")
			}
			require.NoError(t, c.Close())
			require.Equal(t, []string{nodeNews("nodedown", "bob@test", "hidden")}, texts(t, here, 1))
			// else the other one's end would be the next connection's
			for _, n := range []*Node{a, b} {
				for _, c := range n.connections() {
					ended(t, c)
					arrives(t, c.l.Left(), "the end")
				}
			}
		}
	})
}

// Connections come and go during MonitorNodes, all at once: for each node a mailbox gets nodeup and
// nodedown in turn.
func TestMonitorNodesBesideEnd(t *testing.T) {
	w := newWorld(t, "memory")
	a, _ := w.started("alice"), w.started("bob")
	witness := box(t, a)
	of(witness.MonitorNodes(context.Background(), AllNodes)).must(t)
	for range 200 {
		b := box(t, a)
		asked := async(func() ([]string, error) { return b.MonitorNodes(context.Background(), AllNodes) })
		c := connect(t, a, "bob@test")
		closed := async(func() (int, error) { return 0, c.Close() })
		c.l.Fail(ErrClosed)
		require.NoError(t, arrives(t, closed, "Close").err)
		r := arrives(t, asked, "MonitorNodes").must(t)
		alternate(t, b, len(r) > 0, false)
		alternate(t, witness, false, false)
		b.Close()
	}
}

// alternate receives all that there is, and checks that nodeup and nodedown, or nodedown and
// nodeup, come in turn.
func alternate(t *testing.T, b *Mailbox, up, at bool) {
	t.Helper()
	for unread(b) > 0 {
		got := texts(t, b, 1)[0]
		require.Equal(t, up, strings.HasPrefix(got, "{nodedown,"), got)
		up = !up
	}
	require.Equal(t, at, up)
}

func TestMonitorNodesByType(t *testing.T) {
	visible := func(cfg *Config) { cfg.Visible = true }
	w := newWorld(t, "memory")
	a := w.started("alice", visible)
	w.started("seen", visible)
	w.started("unseen")
	boxes := map[NodeTypes]*Mailbox{}
	for _, types := range []NodeTypes{VisibleNodes, HiddenNodes, AllNodes} {
		boxes[types] = box(t, a)
		of(boxes[types].MonitorNodes(context.Background(), types)).must(t)
	}
	for _, peer := range []string{"seen@test", "unseen@test"} {
		connect(t, a, peer)
	}
	late := box(t, a)
	up := of(late.MonitorNodes(context.Background(), AllNodes)).must(t)
	require.Equal(t, []string{"seen@test", "unseen@test"}, up)
	up = of(late.MonitorNodes(context.Background(), HiddenNodes)).must(t)
	require.Equal(t, []string{"unseen@test"}, up)
	up = of(late.MonitorNodes(context.Background(), 0)).must(t)
	require.Empty(t, up)
	up = of(late.MonitorNodes(context.Background(), VisibleNodes)).must(t)
	require.Equal(t, []string{"seen@test"}, up)
	for _, peer := range []string{"seen@test", "unseen@test"} {
		require.NoError(t, a.Conn(peer).Close())
	}
	seen := []string{nodeNews("nodeup", "seen@test", "visible"), nodeNews("nodedown", "seen@test", "visible")}
	unseen := []string{nodeNews("nodeup", "unseen@test", "hidden"), nodeNews("nodedown", "unseen@test", "hidden")}
	require.Equal(t, seen, texts(t, boxes[VisibleNodes], 2))
	require.Equal(t, unseen, texts(t, boxes[HiddenNodes], 2))
	require.Equal(t, []string{seen[0], unseen[0], seen[1], unseen[1]}, texts(t, boxes[AllNodes], 4))
	require.Equal(t, seen[1:], texts(t, late, 1))
	for _, b := range append([]*Mailbox{late}, boxes[AllNodes], boxes[HiddenNodes], boxes[VisibleNodes]) {
		require.Zero(t, unread(b))
	}

	late.Close()
	_, err := late.MonitorNodes(context.Background(), AllNodes)
	require.Error(t, err)
}
