package supervisor_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// BenchmarkMany starts a hundred thousand children, has them end by themselves, which are started
// no more, and ends as many others in order.
func BenchmarkMany(b *testing.B) {
	const many = 100_000
	var start, ended, shutdown time.Duration
	for b.Loop() {
		n := newNode(b)
		var boxes []*nodes.Mailbox
		children := make([]supervisor.Child, 0, many)
		for i := range many {
			children = append(children, supervisor.Server(strconv.Itoa(i), func() nodes.Server { return nodes.Server{} }, nil))
			children[i].Restart = supervisor.Temporary
		}
		begin := time.Now()
		s, err := supervisor.Start(b.Context(), n, "many", nil, children...)
		require.NoError(b, err)
		start += time.Since(begin)
		for i := range many / 2 {
			boxes = append(boxes, n.Whereis(strconv.Itoa(i)))
		}
		begin = time.Now()
		for _, box := range boxes {
			box.Exit(ei.Atom("normal"))
		}
		for {
			v, err := n.Call(b.Context(), s.Pid(), ei.Atom("count_children"))
			require.NoError(b, err)
			if v.(ei.List)[1].(ei.Tuple)[1] == ei.Int(many-len(boxes)) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		ended += time.Since(begin)
		begin = time.Now()
		require.NoError(b, s.Close())
		shutdown += time.Since(begin)
		require.NoError(b, n.Close())
	}
	for what, d := range map[string]time.Duration{"ms-start": start, "ms-50000-end": ended, "ms-50000-shutdown": shutdown} {
		b.ReportMetric(float64(d.Milliseconds())/float64(b.N), what)
	}
}
