//go:build unix

package workers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What a peer has sent just before it closes its connection arrives, in whichever worker the
// process is.
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
			require.NoError(t, b.Send(soon(t), pid, ei.Binary(make([]byte, 8<<10))))
			require.NoError(t, b.Send(soon(t), pid, ei.Int(i)))
			want = append(want, ei.Int(i))
		}
		c := x.Conn(frontName)
		require.NoError(t, c.Flush(soon(t)))
		require.NoError(t, c.Close())
		var got ei.Term
		require.Eventually(t, func() bool {
			v := of(far.Call(soon(t), pid, ei.Atom("got"))).must(t)
			got = v
			l, ok := v.(ei.List)
			return ok && len(l) == count
		}, tooLong, 10*tick)
		require.Equal(t, want, got)
	}
}
