package nodes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

// A peer that has asked for many answers, and has read none so far, is read all the same, and gets
// them all.
func TestAnswersToAPeerThatDoesNotRead(t *testing.T) {
	need.Long(t, 15*time.Second)
	const answers = 50_000 // of 60 bytes each
	bubble(t, func(t *testing.T, w *world) {
		n, p := w.met("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		c, b := w.conn(n, "wire@test"), box(t, n)
		for i := range answers {
			p.Send(dist.Control{Op: dist.OpUnlinkID, ID: uint64(i + 1), From: p.Self, To: b.Pid()}, nil)
		}
		p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Atom("behind"))
		term(t, b)
		require.NoError(t, c.Err())
		for i := range answers {
			ctl, _ := p.Next()
			require.Equal(t, dist.OpUnlinkIDAck, ctl.Op)
			require.Equal(t, uint64(i+1), ctl.ID)
		}
	})
}

// A connection on which too many answers wait, since the peer does not read them, ends; until then
// others get theirs.
func TestTooManyAnswersWait(t *testing.T) {
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	c, other := w.conn(n, "wire@test"), w.started("bob")
	tag := ei.Binary(make([]byte, 1<<20))
	asks := genCallFrom(p.Self, tag, ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")})
	b := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "net_kernel"}, asks)
	for written := 0; written < 3*link.SignalLimit && p.Write(b) == nil; written += len(b) {
		reply := of(other.CallName(w.ctx(), "alice@test", "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom("bob@test")})).must(t)
		require.Equal(t, ei.Atom("yes"), reply)
	}
	require.ErrorIs(t, ended(t, c), transport.ErrQueueFull)
}
