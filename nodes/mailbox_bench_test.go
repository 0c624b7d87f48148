//go:build unix

package nodes

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// echoes makes the processes that BenchmarkMailbox asks: "handler" answers on the goroutine that
// reads, "mailbox" on one of its own.
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
	given := make(chan *Message, 100)
	worker, err := n.Handle("goroutine", func(_ *Mailbox, m *Message) { given <- m }, nil)
	if err != nil {
		return err
	}
	go func() {
		for m := range given {
			_ = answer(worker, m)
		}
	}()
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
	return n.Register(context.Background(), "mailbox", b)
}

// receives is a node of the lower level that BenchmarkReceive asks: "here" is answered by the
// goroutine that receives, "goroutine" and "yield" by another goroutine that is given the message,
// without and with Yield.
func receives(n *Node) error {
	ctx := context.Background()
	l, err := n.Listen(ctx, n.listenAddr())
	if err != nil {
		return err
	}
	if err := n.Publish(ctx, l); err != nil {
		return err
	}
	serve := func(c *Conn) {
		answer := func(m *Message) error {
			t, err := m.Term()
			if err != nil {
				return err
			}
			return c.Send(ctx, t.(ei.Tuple)[0].(ei.Pid), t.(ei.Tuple)[1])
		}
		given := make(chan *Message, 100)
		defer close(given)
		go func() {
			for m := range given {
				_ = answer(m)
			}
		}()
		for {
			m, err := c.Receive(ctx)
			switch {
			case err != nil:
				return
			case m.ToName == "here":
				_ = answer(m)
			default:
				given <- m
				if m.ToName == "yield" {
					c.Yield()
				}
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return nil
}

// How long an answer takes from another process's node, one question after the other: medians.
func BenchmarkMailbox(b *testing.B) {
	benchAnswers(b, "bench0@127.0.0.1", "handler", "goroutine", "mailbox")
}

// The same from the lower level.
func BenchmarkReceive(b *testing.B) { benchAnswers(b, "low0@127.0.0.1", "here", "goroutine", "yield") }

func benchAnswers(b *testing.B, node string, names ...string) {
	dir := b.TempDir()
	client, err := New(Config{Name: "client@127.0.0.1", Cookie: "secret", Resolver: peersDir(dir)})
	require.NoError(b, err)
	defer client.Close()
	startBenchNode(b, dir, 0)
	ctx := context.Background()
	c, err := client.Connect(ctx, node)
	require.NoError(b, err)
	var m Message
	ask := func(name string) time.Duration {
		begun := time.Now()
		require.NoError(b, c.SendName(ctx, name, ei.Tuple{c.Self(), ei.Atom("x")}))
		require.NoError(b, c.ReceiveInto(ctx, &m))
		return time.Since(begun)
	}
	for _, name := range names {
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
