//go:build unix

package workers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A large message of another worker's process goes on in fragments: those of other processes come
// between them, but nothing of the process itself, nor its end, of which a watcher that knows it by
// its name is told without its pid.
func TestRelayKeepsOrder(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	p := w.peer(n.Listeners()[0], role("peer@test"))
	c := w.conn(n.Node, "peer@test")
	link, _, err := n.part.relayLink(n.of(c), 2, true)
	require.NoError(t, err)
	remote := n.remoteLink()
	large, other := ei.Binary(make([]byte, 16<<20)), n.far
	other.ID++
	ref := ei.Ref{Node: "peer@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	reason := of(ei.AppendAtom(nil, "normal")).must(t)
	remote.Send(dist.Control{Op: dist.OpSendSender, From: n.far, To: p.Self}, large)
	remote.Send(dist.Control{Op: dist.OpSendSender, From: other, To: p.Self}, ei.Int(1))
	remote.Send(dist.Control{Op: dist.OpSendSender, From: n.far, To: p.Self}, ei.Int(2))
	require.NoError(t, remote.Write(func() []byte {
		b, err := protocol.AppendFrame(nil, &dist.Control{
			Op: dist.OpPayloadMonitorPExit, FromName: "server", To: p.Self, Ref: ref,
		}, reason)
		require.NoError(t, err)
		return b
	}()))
	// so that the small one is there before the peer reads
	require.Eventually(t, func() bool { return link.l.Traffic().MessagesReceived >= 3 }, tooLong, tick)
	for i, want := range []ei.Term{ei.Int(1), large, ei.Int(2), ei.Atom("normal")} {
		_, got := p.Next()
		if i == 1 {
			require.IsType(t, want, got)
			require.Len(t, got, len(large))
		} else {
			require.Equal(t, want, got)
		}
	}
}

// A payload as large as a peer may send goes from worker to worker, though it is one frame there,
// with the control message before it.
func TestRelayTakesTheLargest(t *testing.T) {
	w := newWorld(t)
	const most = 1 << 20
	n := w.torn(time.Hour, func(cfg *nodes.Config) { cfg.MaxFrame = most })
	p := w.peer(n.Listeners()[0], role("peer@test"))
	_, _, err := n.part.relayLink(n.of(w.conn(n.Node, "peer@test")), 2, true)
	require.NoError(t, err)
	largest := ei.Binary(make([]byte, most-5))
	n.remoteLink().Send(dist.Control{Op: dist.OpSendSender, From: n.far, To: p.Self}, largest)
	_, got := p.Next()
	require.Len(t, got, len(largest))
}
