//go:build linux

package permission

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/workers"
	"github.com/cnode-go/cnode/transport"
)

// The environment of this test's binary when it is the program under test: the number of workers,
// 0 for a node of one process; and the file that says how often shop:refund has run.
const (
	envServe   = "CNODE_TEST_SERVE"
	envRefunds = "CNODE_TEST_REFUNDS"
)

const nodeName = "guarded@127.0.0.1"

func TestMain(m *testing.M) {
	if workers, ok := os.LookupEnv(envServe); ok {
		if err := serve(workers != "0"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leak.Run(m))
}

var rules = []nodes.Rule{
	{Peer: "admin@*", Allow: true},
	{Peer: "web@*", Permission: nodes.MayCall, Target: "shop:quote/1", Allow: true},
	{Peer: "web@*", Permission: nodes.MayCall, Target: "w:process", Allow: true},
	{Peer: "web@*", Permission: nodes.MaySend, Target: "till", Allow: true},
	{}, // and nothing else
}

// serve runs the node until SIGTERM. On SIGHUP workers go on in new processes.
func serve(several bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := nodes.Config{Name: nodeName, Cookie: otp.DefaultCookie, Setup: setUp, Rules: rules}
	ready := func(a transport.Addr) {
		at, _ := transport.AddrPort(a)
		fmt.Printf("ready %s %d\n", nodeName, at.Port())
	}
	switch {
	case workers.IsWorker():
		w, err := workers.Join(ctx, cfg)
		if err != nil {
			return err
		}
		return w.Wait(ctx)
	case !several:
		n, err := nodes.New(cfg)
		if err != nil {
			return err
		}
		if err = n.Start(ctx); err != nil {
			return err
		}
		ready(n.Listeners()[0].Addr())
		<-ctx.Done()
		return n.Shutdown(context.Background())
	}
	f, err := workers.Start(ctx, workers.Config{Node: cfg, Workers: 2, Choose: workers.BySessions})
	if err != nil {
		return err
	}
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	ready(f.Addr())
	for {
		select {
		case <-upgrade:
			if _, err := f.UpgradeWorkers(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return f.Shutdown(context.Background())
		}
	}
}

func setUp(n *nodes.Node) error {
	n.Expose("shop", "quote", nodes.FuncOf(func(pieces int) int { return pieces * 7 }))
	n.Expose("shop", "refund", func(context.Context, []ei.Term) (any, error) {
		f, err := os.OpenFile(os.Getenv(envRefunds), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, err = f.WriteString("x")
		return ei.Atom("ok"), err
	})
	n.Expose("w", "process", func(context.Context, []ei.Term) (any, error) { return os.Getpid(), nil })
	// start(Name) makes a server that answers with how much it has heard before.
	n.Expose("w", "start", nodes.FuncOf(func(name ei.Atom) (ei.Pid, error) {
		var heard atomic.Int64
		b, err := n.Serve(string(name), nodes.Server{
			Call: func(context.Context, *nodes.Call) (any, error) { return heard.Load(), nil },
			Cast: func(context.Context, ei.Term) { heard.Add(1) },
			Info: func(context.Context, *nodes.Mailbox, *nodes.Message) { heard.Add(1) },
		}, &nodes.MailboxOptions{TrapExit: true})
		if err != nil {
			return ei.Pid{}, err
		}
		return b.Pid(), nil
	}))
	n.Expose("w", "whereis", nodes.FuncOf(func(ctx context.Context, name ei.Atom) (ei.Pid, error) {
		return n.Lookup(ctx, string(name))
	}))
	// ask(Node) asks that node as a process of its own, and as none.
	n.Expose("w", "ask", nodes.FuncOf(func(ctx context.Context, node ei.Atom) (ei.Term, error) {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		if _, err := nodes.RPCAs[ei.Atom](ctx, b, string(node), "erlang", "node"); err != nil {
			return nil, err
		}
		return n.RPC(ctx, string(node), "erlang", "node")
	}))
	return nil
}
