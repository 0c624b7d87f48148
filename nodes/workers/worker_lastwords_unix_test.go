//go:build unix

package workers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A worker moves while a process of it that has ended has yet to tell a peer which does not read,
// and its new process tells the peer.
func TestWorkerMovesBesideLastWords(t *testing.T) {
	w := newFloodWorld(t)
	b := w.mailbox(w.peer, &nodes.MailboxOptions{TrapExit: true})
	joe := w.start(w.mate, "")
	require.NoError(t, b.Link(soon(t), joe))
	_, err := w.peer.Call(soon(t), joe, ei.Atom("pid")) // the link is there
	require.NoError(t, err)
	hear := w.deafen()
	w.rpc(w.mate, "flood", w.mailbox(w.peer, nil).Pid())
	w.full()
	require.NoError(t, w.mailbox(w.mate, nil).Send(soon(t), joe, ei.Atom("bye")))
	require.Eventually(t, func() bool { _, err := w.mate.Call(soon(t), joe, ei.Atom("pid")); return err != nil }, tooLong, 10*tick)
	pid, err := w.workerProcess(w.worker(w.mate)).Upgrade()
	require.NoError(t, err)
	require.Equal(t, pid, w.worker(w.mate))
	hear()
	require.Equal(t, joe, w.receive(b).From)
}
