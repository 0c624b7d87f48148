//go:build unix

package nodes

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
)

// echoes makes the processes that BenchmarkMailbox asks: "handler" answers on the goroutine that reads, "mailbox" on one of its own.
func echoes(n *Node) error {
	answer := func(b *Mailbox, m *Message) error {
		t, err := m.Term()
		if err != nil {
			return err
		}
		return b.Send(context.Background(), t.(ei.Tuple)[0].(ei.Pid), t.(ei.Tuple)[1])
	}
	if _, err := n.Handle("handler", func(b *Mailbox, m *Message) { _ = answer(b, m) }, nil); err != nil {
		return err
	}
	b, err := n.NewMailbox(nil)
	if err != nil {
		return err
	}
	go func() {
		for m, err := range b.All(context.Background()) {
			if err != nil || answer(b, m) != nil {
				return
			}
		}
	}()
	return n.Register("mailbox", b)
}

// How long an answer takes from another process's node, one question after the other: medians.
func BenchmarkMailbox(b *testing.B) {
	dir := b.TempDir()
	client, err := New(Config{Name: "client@127.0.0.1", Cookie: "secret", Resolver: peersDir(dir)})
	require.NoError(b, err)
	defer client.Close()
	startBenchNode(b, dir, 0)
	ctx := context.Background()
	c, err := client.Connect(ctx, "bench0@127.0.0.1")
	require.NoError(b, err)
	var m Message
	ask := func(name string) time.Duration {
		begun := time.Now()
		require.NoError(b, c.SendName(ctx, name, ei.Tuple{c.Self(), ei.Atom("x")}))
		require.NoError(b, c.ReceiveInto(ctx, &m))
		return time.Since(begun)
	}
	for _, name := range []string{"handler", "mailbox"} {
		b.Run(name, func(b *testing.B) {
			for range 1000 {
				ask(name)
			}
			var took []time.Duration
			for b.Loop() {
				took = append(took, ask(name))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e3, "median-us")
		})
	}
}
