package nodes_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

// A goroutine of the program gets its message in although a peer sends more than the receiver can
// take.
func TestLocalSenderGetsItsTurn(t *testing.T) {
	all := team(t, []string{"a@127.0.0.1", "b@127.0.0.1"}, func(c *nodes.Config) { c.OverflowLimit = 1 << 20 })
	a, b := all[0], all[1]
	ctx := patient(t)
	to, err := b.NewMailbox(&nodes.MailboxOptions{Limit: 100_000, Full: nodes.FullWait})
	require.NoError(t, err)
	from, err := a.NewMailbox(nil)
	require.NoError(t, err)
	flood, stop := context.WithCancel(ctx)
	over := make(chan struct{}, 2)
	go func() {
		for from.Send(flood, to.Pid(), ei.Binary(make([]byte, 10_000))) == nil {
		}
		over <- struct{}{}
	}()
	go func() {
		for {
			if _, err := to.Receive(flood); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		over <- struct{}{}
	}()
	require.Eventually(t, func() bool { return b.Stats().Overflow > 300_000 }, expect.Limit, time.Millisecond)
	own, err := b.NewMailbox(nil)
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, own.Send(ctx, to.Pid(), ei.Atom("hello")))
	}
	stop()
	<-over
	<-over
}

// The mailbox that ends is one that the peer has filled which has had its share.
func TestOthersMailboxStays(t *testing.T) {
	all := team(t, []string{"a@127.0.0.1", "b@127.0.0.1", "c@127.0.0.1"}, func(c *nodes.Config) { c.OverflowLimit = 10 << 20 })
	a, b, c := all[0], all[1], all[2]
	ctx := patient(t)
	var boxes [2]*nodes.Mailbox
	for i := range boxes {
		var err error
		boxes[i], err = b.NewMailbox(&nodes.MailboxOptions{Limit: 1000})
		require.NoError(t, err)
	}
	send := func(n *nodes.Node, to *nodes.Mailbox, count int) {
		from, err := n.NewMailbox(nil)
		require.NoError(t, err)
		for range count {
			if from.Send(ctx, to.Pid(), ei.Binary(make([]byte, 100_000))) != nil {
				return
			}
		}
	}
	send(a, boxes[0], 36)
	require.Eventually(t, func() bool { return b.Stats().Overflow > 4_000_000 }, expect.Limit, time.Millisecond)
	go send(c, boxes[1], 200)
	select {
	case <-boxes[0].Done():
		t.Fatal("a's mailbox has ended for c's flood")
	case <-boxes[1].Done():
	case <-ctx.Done():
		t.Fatal("none has ended")
	}
}
