//go:build unix

package nodes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A goroutine of the application has called a Handler, which passes on what it gets: the node is frozen after the Handler has returned, not
// in the middle of it.
func TestFreezeBesideForwarder(t *testing.T) {
	w := newWorld(t, movers[0])
	begun := make(chan struct{}, 1)
	var h, sink *Mailbox
	n := w.started("alice", func(cfg *Config) {
		cfg.Handover = func(context.Context) ([]byte, error) { // everything else has come to rest
			go func() { _ = sink.Send(context.Background(), h.Pid(), "on") }()
			<-begun
			return nil, nil
		}
	})
	sink = box(t, n)
	h, err := n.Handle("", func(self *Mailbox, _ *Message) {
		begun <- struct{}{}
		for !self.n.procs.calm.Load() {
			time.Sleep(tick)
		}
		time.Sleep(drainSlice / 2) // time for whatever else is held at the same moment
		_ = self.Send(context.Background(), sink.Pid(), "on")
	}, nil)
	require.NoError(t, err)
	f, err := n.Freeze(w.ctx())
	require.NoError(t, err)
	f.Thaw()
	require.Equal(t, ei.Binary("on"), term(t, sink))
}
