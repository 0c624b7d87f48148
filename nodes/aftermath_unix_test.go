//go:build unix

package nodes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
)

// A Handler that is told of the end of the way to another worker can send to a process of that worker again, over the next way.
func TestHandlerOfWorkerComesAgain(t *testing.T) {
	n := newWorld(t, "tcp").torn(time.Hour)
	first := n.mend()
	told := make(chan error, 1)
	h, err := n.Handle("", func(self *Mailbox, m *Message) { told <- self.Send(context.Background(), n.far, 1) }, nil)
	require.NoError(t, err)
	_, err = h.Monitor(soon(t), n.far)
	require.NoError(t, err)
	ctl, _ := first.next()
	require.Equal(t, dist.OpMonitorP, ctl.Op)
	require.NoError(t, first.s.Close())
	second := n.mend()
	require.NoError(t, arrives(t, told, "word of the end"))
	ctl, _ = second.next()
	require.Equal(t, dist.OpSend, ctl.Op)
}
