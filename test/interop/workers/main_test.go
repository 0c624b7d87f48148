//go:build linux

package workers

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary the program under test, under the name that it holds.
const envServe = "CNODE_TEST_SERVE"

func TestMain(m *testing.M) { gonode.Main(leak.Then(m, removeLabs, demo.Remove), envServe, serve) }

// serve runs a front, or its worker.
func serve(name string) error {
	return gonode.Serve(workers.Config{Workers: 3, Choose: workers.BySessions, Patience: limit,
		Node: nodes.Config{Name: name, Cookie: otp.DefaultCookie, Setup: setUp}}, nil)
}

// setUp gives a worker functions to try the node with.
func setUp(n *nodes.Node) error {
	n.Expose("w", "pid", func(context.Context, []ei.Term) (any, error) { return os.Getpid(), nil })
	// start(Name) is a new process, which answers {echo, From, T} with T and calls with {ok, T},
	// and ends when it gets an atom.
	n.Expose("w", "start", func(_ context.Context, args []ei.Term) (any, error) {
		name, _ := args[0].(ei.Atom)
		b, err := n.Serve(string(name), nodes.Server{
			Call: func(_ context.Context, c *nodes.Call) (any, error) { return ei.Tuple{ei.Atom("ok"), c.Request}, nil },
			Info: func(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
				switch t, _ := m.Term(); t := t.(type) {
				case ei.Tuple:
					if from, ok := t[1].(ei.Pid); ok {
						_ = self.Send(ctx, from, t[2])
					}
				case ei.Atom:
					self.Exit(t)
				}
			},
		}, nil)
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	// print(Text) prints to the caller's group leader; converse() answers {From, T} with {Self, T},
	// until it gets an atom.
	n.Expose("w", "print", nodes.FuncOf(func(ctx context.Context, text string) error {
		_, err := io.WriteString(groupleader.Of(ctx), text)
		return err
	}))
	n.Expose("w", "converse", nodes.FuncOf(func(ctx context.Context) error {
		for self := nodes.MailboxOf(ctx); ; {
			m, err := self.Receive(ctx)
			if err != nil {
				return err
			}
			t, _ := m.Term()
			request, ok := t.(ei.Tuple)
			if !ok {
				return nil
			}
			if err := self.Send(ctx, request[0].(ei.Pid), ei.Tuple{self.Pid(), request[1]}); err != nil {
				return err
			}
		}
	}))
	n.Expose("w", "whereis", func(ctx context.Context, args []ei.Term) (any, error) {
		name, _ := args[0].(ei.Atom)
		pid, err := n.Lookup(ctx, string(name))
		if errors.Is(err, nodes.ErrNoProc) {
			return ei.Atom("undefined"), nil
		}
		return pid, err
	})
	// rpc(Node, M, F, A) calls another node, which it connects to if no worker is connected.
	n.Expose("w", "rpc", func(ctx context.Context, args []ei.Term) (any, error) {
		node, _ := args[0].(ei.Atom)
		module, _ := args[1].(ei.Atom)
		function, _ := args[2].(ei.Atom)
		list, _ := args[3].(ei.List)
		var with []any
		for _, a := range list {
			with = append(with, a)
		}
		var err error
		for range 3 { // the first may find a connection that has just ended
			var v ei.Term
			if v, err = n.RPC(ctx, string(node), string(module), string(function), with...); err == nil {
				return v, nil
			}
		}
		return nil, err
	})
	return nil
}
