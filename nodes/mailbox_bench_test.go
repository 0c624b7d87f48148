package nodes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
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

// benchVariable makes this program the two nodes of a benchmark.
const benchVariable = "CNODE_BENCH_NODE"

// runBenchNode runs them until its standard input ends.
func runBenchNode() int {
	err := benchNode(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func benchNode(ctx context.Context) error {
	w := &book{at: Static{}}
	n, err := New(Config{Name: "bench0@127.0.0.1", Cookie: "secret", Resolver: w})
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	if err := echoes(n); err != nil {
		return err
	}
	low, err := New(Config{Name: "low0@127.0.0.1", Cookie: "secret", Resolver: w})
	if err != nil {
		return err
	}
	if err := receives(low); err != nil {
		return err
	}
	fmt.Println(w.at[n.Name()].Addr, w.at[low.Name()].Addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return errors.Join(n.Close(), low.Close())
}

// startBenchNode runs them in a process of its own, for as long as b.
func startBenchNode(b *testing.B) Static {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	at := Static{}
	for i, text := range strings.Fields(line) {
		addr, err := transport.ParseAddr(text)
		require.NoError(b, err)
		at[[]string{"bench0@127.0.0.1", "low0@127.0.0.1"}[i]] = Endpoint{Addr: addr}
	}
	return at
}

// How long an answer takes from another process's node, one question after the other: medians.
func BenchmarkMailbox(b *testing.B) {
	benchAnswers(b, "bench0@127.0.0.1", "handler", "goroutine", "mailbox")
}

// The same from the lower level.
func BenchmarkReceive(b *testing.B) { benchAnswers(b, "low0@127.0.0.1", "here", "goroutine", "yield") }

func benchAnswers(b *testing.B, node string, names ...string) {
	client, err := New(Config{Name: "client@127.0.0.1", Cookie: "secret", Resolver: startBenchNode(b)})
	require.NoError(b, err)
	defer client.Close()
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
