//go:build unix

package main

import (
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
)

// The counts of a peer that was killed are lost: its successor starts from 0, and not from what an
// earlier process has handed over.
func TestKeeperCountsOnce(t *testing.T) {
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	n, c := dialed(t, w, s.name)
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	sink := func(last ei.Atom) {
		t.Helper()
		require.NoError(t, box.SendName(t.Context(), s.name, "peer", ei.Tuple{ei.Atom("sink"), box.Pid(), last, ei.Binary("x")}))
	}
	sink("false")
	// the answer means that the message before it was counted
	require.Equal(t, s.cmd.Process.Pid, servedBy(t, c))
	s.upgrade(s.cmd.Process.Pid)
	s.exits()
	where, err := n.RPC(t.Context(), s.name, "erlang", "whereis", ei.Atom("peer"))
	require.NoError(t, err)
	require.NoError(t, box.SendExit(t.Context(), where.(ei.Pid), ei.Atom("kill")))
	require.Eventually(t, func() bool {
		now, err := n.RPC(t.Context(), s.name, "erlang", "whereis", ei.Atom("peer"))
		require.NoError(t, err)
		return now != ei.Atom("undefined") && now != where
	}, waitLimit, waitLimit/1000)
	sink("true")
	m, err := box.Receive(t.Context())
	require.NoError(t, err)
	require.Equal(t, "{count,1}", m.Payload.String())
}
