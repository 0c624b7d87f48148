package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The processes that every node expects of another outlive whoever links them.
func TestKernelOutlivesLinks(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	m := trapping(t, b)
	for _, name := range []string{"net_kernel", "rex"} {
		require.NoError(t, m.Link(w.ctx(), a.Whereis(name).Pid()))
	}
	require.NoError(t, b.Conn(a.Name()).Close())
	require.Eventually(t, func() bool { return a.Conn(b.Name()) == nil }, tooLong, tick)
	v, err := m.CallName(w.ctx(), a.Name(), "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom(b.Name())})
	require.NoError(t, err)
	require.Equal(t, ei.Atom("yes"), v)
	require.NotNil(t, a.Whereis("rex"))
}

// A place of Config.MaxCalls in which a message waits for room is free again when the peer whose message it is has gone.
func TestPlaceIsFreeOncePeerHasGone(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	b, err := n.NewMailbox(&MailboxOptions{Limit: 1})
	require.NoError(t, err)
	require.NoError(t, n.Register("full", b))
	require.NoError(t, b.Send(w.ctx(), b.Pid(), ei.Atom("first")))
	p := w.peer(n.Listeners()[0], role("wire@test"))
	p.send(dist.Control{Op: dist.OpRegSend, From: p.self, ToName: "rex"},
		ei.Tuple{p.self, ei.Tuple{ei.Atom("sbcast"), ei.Atom("full"), ei.Atom("second")}})
	require.Eventually(t, func() bool { return !n.procs.running.none() }, tooLong, tick)
	require.NoError(t, p.s.Close())
	require.Eventually(t, n.procs.running.none, tooLong, tick)
	m, err := b.Receive(w.ctx())
	require.NoError(t, err)
	v, err := m.Term()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("first"), v)
}
