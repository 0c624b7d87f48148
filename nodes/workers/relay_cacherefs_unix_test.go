//go:build unix

package workers

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// What a peer sends to a process of another worker arrives whole. What is for one that no worker
// has stays as it came, even if the pid names a worker that is no more.
func TestReferencesAcrossWorkers(t *testing.T) {
	w := newWorld(t)
	n := w.torn(time.Hour)
	p := w.peer(n.Listeners()[0], role("wire@test"))
	b := box(t, n.Node)
	require.NoError(t, n.Named("somebody", b))
	n.part.ways.mu.Lock()
	n.part.latest = 5000
	n.part.ways.mu.Unlock()
	large := longAtoms(2000)
	payload := encode(t, large)
	behind := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "somebody"}, ei.Atom("behind"))
	var sent protocol.SentAtoms
	here := b.Pid()
	here.ID += 1 << 20
	for _, nobody := range []ei.Pid{here, n.pidOf(3)} {
		before := n.Stats().Undeliverable
		ctl := dist.Control{Op: dist.OpSend, To: nobody}
		first := packed(t, &sent, &ctl, payload, 0)
		again := bytes.Repeat(packed(t, &sent, &ctl, payload, 0), 10)
		require.NoError(t, p.Write(append(first, behind...)))
		term(t, b)
		used := allocatedBy(func() {
			require.NoError(t, p.Write(append(again, behind...)))
			term(t, b)
		})
		require.LessOrEqual(t, used, 8*len(again)+1<<20, "of %d bytes that came", len(again))
		require.EqualValues(t, 11, n.Stats().Undeliverable-before)
	}
	ctl := dist.Control{Op: dist.OpSendSender, From: p.Self, To: n.far}
	require.NoError(t, p.Write(packed(t, &sent, &ctl, payload, 0)))
	_, got := n.remoteLink().Next()
	require.Zero(t, ei.Compare(large, got))
}

// A message that waits for news of a worker when the reader halts is kept whole: another process
// may pass it on.
func TestReferencesAreKeptWhole(t *testing.T) {
	w := newWorld(t)
	n := &torn{loneWorker: w.worker("front", time.Hour), w: w}
	n.part.numberLimit = time.Hour
	n.far = n.pidOf(2)
	p := w.peer(n.Listeners()[0], role("peer@test"))
	var sent protocol.SentAtoms
	ctl := dist.Control{Op: dist.OpSendSender, From: p.Self, To: n.far}
	want := longAtoms(10)
	require.NoError(t, p.Write(packed(t, &sent, &ctl, encode(t, want), 0)))
	c := w.reading(n.Node)
	require.NoError(t, linkOf(c).StopReading(soon(t)))
	require.Zero(t, ei.Compare(want, content(t, n.Parked(c)[0])))
	n.part.addWorkerLink(&talk.WorkerLink{Part: 2})
	linkOf(c).ResumeReading()
	_, got := n.remoteLink().Next()
	require.Zero(t, ei.Compare(want, got))
}
