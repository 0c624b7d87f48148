package workers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
)

// A relay link remembers the links through it, and the monitors of the peer's processes, until one
// side ends them: else the peer would be told once more when the other worker dies, and a worker
// that lives long would remember ever more of them.
func TestBranchForgetsWhatHasEnded(t *testing.T) {
	theirs, ours := ei.Pid{Node: "peer@test", ID: 1, Creation: 7}, ei.Pid{Node: "node@test", ID: 2, Creation: 8}
	ref := ei.Ref{Node: "peer@test", Creation: 7, Len: 3, ID: [5]uint32{1, 2, 3}}
	n := &node{insider: (*nodes.Node)(nil).Inside(inside.Key{})}
	peerLink, b := n.of(new(nodes.Conn)), n.of(new(nodes.Conn))
	b.PeerLink, b.Worker = peerLink.Conn, 2
	peerLink.PutRelayLink(2, b.Conn)
	inward := func(op dist.Op) {
		require.True(t, b.note(&nodes.Message{Control: dist.Control{Op: op, From: theirs, To: ours, Ref: ref}}, true))
	}
	outward := func(op dist.Op) {
		require.True(t, b.note(&nodes.Message{Control: dist.Control{Op: op, From: ours, To: theirs, Ref: ref}}, false))
	}
	for _, way := range []func(dist.Op){inward, outward} {
		for _, end := range []dist.Op{dist.OpUnlinkID, dist.OpUnlink, dist.OpExit} {
			for _, endWay := range []func(dist.Op){inward, outward} {
				way(dist.OpLink)
				require.Contains(t, b.Relayed.Links, inside.Link{Remote: theirs, Local: ours})
				endWay(end)
				require.Empty(t, b.Relayed.Links, end)
			}
		}
	}
	inward(dist.OpMonitorP)
	outward(dist.OpMonitorP) // the other worker's: it knows of it itself
	outward(dist.OpDemonitorP)
	inward(dist.OpMonitorPExit)
	outward(dist.OpLink)
	require.Same(t, b.Conn, peerLink.relayLinkOfMonitor(ref))
	require.Equal(t, map[ei.Ref]inside.Monitor{ref: {Watcher: theirs, Pid: ours}}, b.Relayed.Monitors)
	outward(dist.OpMonitorPExit)
	require.Empty(t, b.Relayed.Monitors, "the process has ended")
	require.Nil(t, peerLink.relayLinkOfMonitor(ref))
	inward(dist.OpMonitorP)
	inward(dist.OpDemonitorP)
	require.Empty(t, b.Relayed.Monitors, "the peer watches it no more")

	delete(peerLink.RelayLinks, 2)
	require.False(t, b.note(&nodes.Message{Control: dist.Control{Op: dist.OpLink, From: theirs, To: ours}}, true), "the branch has ended")
}
