package nodes

import (
	"bufio"
	"context"
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

// benchVariable makes this program the node of a benchmark.
const benchVariable = "CNODE_BENCH_NODE"

// runBenchNode runs it until its standard input ends.
func runBenchNode() int {
	if err := benchNode(context.Background()); err != nil {
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
	fmt.Println(w.at[n.Name()].Addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return n.Close()
}

// startBenchNode runs it in a process of its own, for as long as b.
func startBenchNode(b *testing.B) Static {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchVariable+"=1")
	cmd.Stderr = os.Stderr
	in := of(cmd.StdinPipe()).must(b)
	out := of(cmd.StdoutPipe()).must(b)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line := of(bufio.NewReader(out).ReadString('\n')).must(b)
	addr := of(transport.ParseAddr(strings.TrimSpace(line))).must(b)
	return Static{"bench0@127.0.0.1": {Addr: addr}}
}

// How long an answer takes from another process's node, one question after the other: medians.
func BenchmarkMailbox(b *testing.B) {
	client := of(New(Config{Name: "client@127.0.0.1", Cookie: "secret", Resolver: startBenchNode(b)})).must(b)
	defer client.Close()
	ctx := context.Background()
	c := of(client.Connect(ctx, "bench0@127.0.0.1")).must(b)
	var m Message
	ask := func(name string) time.Duration {
		begun := time.Now()
		require.NoError(b, c.SendName(ctx, name, ei.Tuple{c.Self(), ei.Atom("x")}))
		require.NoError(b, c.ReceiveInto(ctx, &m))
		return time.Since(begun)
	}
	for _, name := range []string{"handler", "goroutine", "mailbox"} {
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
