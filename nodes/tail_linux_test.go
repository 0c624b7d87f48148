package nodes

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A front that has stood still looks first at what its workers have said meanwhile.
func TestFrontIsLate(t *testing.T) {
	w := newFrontWorld(t, 1)
	var c *crewman
	w.f.mu.Lock()
	for _, c = range w.f.crew {
	}
	w.f.mu.Unlock()
	s := &session{s: keptSocket(-1), due: time.Now().Add(-time.Second), timer: time.NewTimer(time.Hour)}
	c.recall(s)
	require.True(t, s.late)
	require.True(t, s.timer.Stop(), "it was set again")
	s = &session{s: keptSocket(-1), due: time.Now(), timer: time.NewTimer(time.Hour)}
	c.recall(s)
	require.False(t, s.late)
}

// Who waits for the way to a peer from a worker that dies connects by itself.
func TestWayFromDeadWorker(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	x, c := ns[0], ns[1]
	_, err := x.Serve("box", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	holder := w.worker(x)
	asked := w.rpc(c, "questions")
	require.NoError(t, syscall.Kill(holder, syscall.SIGSTOP))
	called := async(func() (ei.Term, error) {
		return c.RPC(patience(t), frontName, "w", "ask", ei.Atom(x.Name()), ei.Atom("box"), ei.Int(4))
	})
	require.Eventually(t, func() bool { return w.rpc(c, "questions") != asked }, tooLong, tick)
	require.NoError(t, syscall.Kill(holder, syscall.SIGKILL))
	r := arrives(t, called, "the answer")
	require.NoError(t, r.err)
	require.Equal(t, ei.Int(4), r.v)
}

// What a peer has sent just before it closes its connection arrives, in whichever worker the process is.
func TestLastMessagesAcrossWorkers(t *testing.T) {
	w := newFrontWorld(t, 2)
	keepers := w.spread(2)
	var homes []int
	for _, k := range keepers {
		homes = append(homes, w.worker(k))
	}
	x := w.node("x@127.0.0.1")
	far := keepers[0]
	if homes[0] == w.worker(x) {
		far = keepers[1]
	}
	for _, name := range []ei.Atom{"one", "two", "three"} {
		pid := w.rpc(far, "start", name).(ei.Pid)
		b := box(t, x)
		const count = 300
		var want ei.List
		for i := range count {
			require.NoError(t, b.Send(patience(t), pid, ei.Binary(make([]byte, 8<<10))))
			require.NoError(t, b.Send(patience(t), pid, ei.Int(i)))
			want = append(want, ei.Int(i))
		}
		c := x.Conn(frontName)
		require.NoError(t, c.Flush(patience(t)))
		require.NoError(t, c.Close())
		var got ei.Term
		require.Eventually(t, func() bool {
			v, err := far.Call(patience(t), pid, ei.Atom("got"))
			require.NoError(t, err)
			got = v
			l, ok := v.(ei.List)
			return ok && len(l) == count
		}, tooLong, 10*tick)
		require.Equal(t, want, got)
	}
}
