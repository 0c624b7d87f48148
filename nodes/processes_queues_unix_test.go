//go:build unix

package nodes

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Stats has the queues of the program's registered processes, of the first names only if there are
// very many, and those of a node that has moved.
func TestQueues(t *testing.T) {
	a := newWorld(t, "tcp").started("alice")
	require.Empty(t, a.Stats().Queues, "net_kernel and rex are the node's own")
	orders, other := registered(t, a, "orders"), box(t, a)
	require.NoError(t, a.Register(t.Context(), "also", orders))
	require.NoError(t, a.Register(t.Context(), "other", other))
	for range 3 {
		require.NoError(t, other.Send(soon(t), orders.Pid(), ei.Binary("abc")))
	}
	messages := func(n *Node) map[string]int {
		all := map[string]int{}
		for _, q := range n.Stats().Queues {
			all[q.Name] = q.Messages
			require.Equal(t, q.Messages > 0, q.Bytes > 0)
		}
		return all
	}
	require.Equal(t, map[string]int{"also": 3, "orders": 3, "other": 0}, messages(a))
	receive(t, orders)
	require.NoError(t, a.Unregister(context.Background(), "also"))
	other.Close()
	require.Equal(t, map[string]int{"orders": 2}, messages(a))
	require.Equal(t, "orders", a.Stats().Queues[0].Name)

	for i := range mostListed + 10 {
		require.NoError(t, a.Register(t.Context(), fmt.Sprint("p", i), orders))
	}
	room := mostListed - len(messages(a))
	require.Positive(t, room, "the node's own names are listed, and not shown")
	require.Less(t, room, 20)
	require.Contains(t, messages(a), "p0")
	require.NotContains(t, messages(a), fmt.Sprint("p", mostListed))
	for i := range mostListed + 10 {
		require.NoError(t, a.Unregister(context.Background(), fmt.Sprint("p", i)))
	}
	require.Equal(t, map[string]int{"orders": 2}, messages(a))
	require.Equal(t, map[string]int{"orders": 2}, messages(upgrade(t, a)))
}
