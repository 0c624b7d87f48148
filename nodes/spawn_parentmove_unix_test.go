//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A Server that goes on in another process keeps its Parent, and does not terminate.
func TestParentMoves(t *testing.T) {
	for _, kind := range movers {
		w := newWorld(t, kind)
		peer := w.started("peer")
		parent := trapping(t, peer)
		ended := make(chan ei.Term, 2)
		serve := func(n *Node, parent ei.Pid) (*Mailbox, error) {
			return n.Serve("srv", Server{Terminate: func(_ context.Context, reason ei.Term) { ended <- reason }},
				&MailboxOptions{TrapExit: true, Parent: parent})
		}
		n := w.started("front", func(cfg *Config) {
			cfg.Setup = func(n *Node) error {
				if n.Whereis("srv") == nil { // it does not come from a process before
					return nil
				}
				_, err := serve(n, ei.Pid{})
				return err
			}
		})
		s := of(serve(n, parent.Pid())).must(t)
		pid := s.Pid()
		require.Equal(t, "ok", sysCall(t, box(t, peer), pid, ei.Atom("suspend")))
		n = upgrade(t, n)
		require.Equal(t, pid, n.Whereis("srv").Pid())
		require.Contains(t, sysCall(t, box(t, peer), pid, ei.Atom("get_status")), "running", "a suspension does not move")
		require.Empty(t, ended)
		require.NoError(t, parent.SendExit(w.ctx(), pid, ei.Atom("shutdown")))
		require.Equal(t, pid, receive(t, parent).From)
		require.Equal(t, ei.Atom("shutdown"), arrives(t, ended, "the last call"))
		require.NoError(t, n.Close())
	}
}

// A parent that has ended before the answer to its request, and before its node moves: the child is
// told the parent's exit reason all the same.
func TestOrphanMoves(t *testing.T) {
	n, p := newWorld(t, "tcp").met("front")
	b := box(t, n)
	of(b.SpawnRequest(soon(t), "wire@test", &SpawnOptions{Link: true}, "m", "f")).must(t)
	q, _ := p.Next()
	b.Exit(ei.Atom("enough"))
	n = upgrade(t, n)
	p.spawned(q, dist.SpawnLinked, ei.Pid{Node: "wire@test", ID: 5, Creation: 77})
	ctl, why := p.nextSignal()
	require.Equal(t, dist.OpPayloadExit, ctl.Op)
	require.Equal(t, ei.Atom("enough"), why)
	require.NoError(t, n.Close())
}
