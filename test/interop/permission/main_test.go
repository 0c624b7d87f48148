//go:build linux

package permission

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/workers"
)

// The environment of this test's binary when it is the program under test: the number of workers,
// 0 for a node of one process; and the file that says how often shop:refund has run.
const (
	envServe   = "CNODE_TEST_SERVE"
	envRefunds = "CNODE_TEST_REFUNDS"
)

const nodeName = "guarded@127.0.0.1"

func TestMain(m *testing.M) { gonode.Main(m, envServe, serve) }

var rules = []nodes.Rule{
	{Peer: "admin@*", Allow: true},
	{Peer: "web@*", Permission: nodes.MayCall, Target: "shop:quote/1", Allow: true},
	{Peer: "web@*", Permission: nodes.MayCall, Target: "w:process", Allow: true},
	{Peer: "web@*", Permission: nodes.MaySend, Target: "till", Allow: true},
	{}, // and nothing else
}

// serve runs the node, whose workers go on in new processes when it is told so.
func serve(count string) error {
	n, _ := strconv.Atoi(count)
	return gonode.Serve(workers.Config{Workers: n, Choose: workers.BySessions,
		Node: nodes.Config{Name: nodeName, Cookie: otp.DefaultCookie, Setup: setUp, Rules: rules}}, nil)
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
