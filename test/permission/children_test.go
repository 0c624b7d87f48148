package permission

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// What a peer says it has started is linked with, and ended, only if the peer may end it.
func TestRemoteChildren(t *testing.T) {
	eachRules(t, func(t *testing.T, s *scene, touches func(r row) string) {
		v := s.victims()
		for i, b := range v.all[:2] {
			started, over := make(chan ei.Pid), make(chan struct{})
			name := fmt.Sprint("start", i)
			s.peer.Expose("workers", name, nodes.FuncOf(func(context.Context) ei.Term {
				select {
				case pid := <-started:
					return ei.Tuple{ei.Atom("ok"), pid}
				case <-over:
					return ei.Atom("ignore")
				}
			}))
			child := supervisor.Remote("worker", "peer@host", "workers", name)
			child.Shutdown = supervisor.BrutalKill
			sup, err := supervisor.Start(expect.Context(t), s.all, "", &supervisor.Options{Period: time.Millisecond}, child)
			require.NoError(t, err)
			started <- b.Pid()
			if touches(row{touches: "link"}) != "" {
				require.Eventually(t, func() bool { v.look(); return v.seen["link"] }, expect.Limit, time.Millisecond)
				delete(v.seen, "link")
			} else {
				started <- b.Pid() // it is tried again: the answer before was dealt with
			}
			close(over)
			require.NoError(t, sup.Close())
		}
		require.Equal(t, touches(row{touches: "exit"}), v.touches())
	})
}
