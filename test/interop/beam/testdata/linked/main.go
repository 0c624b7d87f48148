// Linked is the program of a child with a link. Nothing in it knows of that.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/transport"
)

// Functions that a peer calls.
type pricing struct{ cancelled *atomic.Int64 }

func (pricing) Total(price float64, qty int) float64 { return price * float64(qty) }

func (pricing) Fail(text string) (int, error) { return 0, errors.New(text) }

func (pricing) Raise() (int, error) {
	return 0, &nodes.Raise{Class: "error", Reason: ei.Tuple{ei.Atom("out_of_stock"), ei.Binary("A1")}}
}

// Sleep ends early when nobody waits for it any more.
func (p pricing) Sleep(ctx context.Context, ms int) string {
	select {
	case <-ctx.Done():
		p.cancelled.Add(1)
		return "cancelled"
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return "slept"
	}
}

func (p pricing) Cancelled() int64 { return p.cancelled.Load() }

func (pricing) Print(ctx context.Context, text string) error {
	_, err := fmt.Fprintln(groupleader.Of(ctx), text)
	return err
}

func (pricing) Caller(ctx context.Context) ei.Term { return nodes.CallerOf(ctx) }

func (pricing) Same(t ei.Term) ei.Term { return t }

func (pricing) Process() int { return os.Getpid() }

func (pricing) Parent() string { return child.Parent() }

func (pricing) End(status int) { time.AfterFunc(20*time.Millisecond, func() { os.Exit(status) }) }

// Functions that call or tell the peer.
type back struct{ n *nodes.Node }

func (back) Call(ctx context.Context, name string, request ei.Term) (ei.Term, error) {
	return nodes.MailboxOf(ctx).CallName(ctx, child.Parent(), name, request)
}

func (back) Apply(ctx context.Context, m, f ei.Atom, args ei.List) (ei.Term, error) {
	a := make([]any, len(args))
	for i := range args {
		a[i] = args[i]
	}
	return nodes.MailboxOf(ctx).ERPC(ctx, child.Parent(), string(m), string(f), a...)
}

func (b back) RPC(ctx context.Context, m, f ei.Atom, arg ei.Term) (ei.Term, error) {
	return b.n.RPC(ctx, child.Parent(), string(m), string(f), arg)
}

func (back) Send(ctx context.Context, to ei.Pid, t ei.Term) error {
	return nodes.MailboxOf(ctx).Send(ctx, to, t)
}

// Both sends and calls, in this order.
func (back) Both(ctx context.Context, to ei.Pid, t ei.Term) (ei.Term, error) {
	b := nodes.MailboxOf(ctx)
	if err := b.Send(ctx, to, t); err != nil {
		return nil, err
	}
	return b.Call(ctx, to, ei.Atom("last"))
}

// Parts is how many messages have come before the result of a function that sends them.
func (back) Parts(ctx context.Context) (count int, err error) {
	b := nodes.MailboxOf(ctx)
	_, err = b.ERPC(ctx, child.Parent(), "cnode_link_checks", "parts", b.Pid())
	for err == nil {
		if _, e := b.Receive(transport.NoWait()); e != nil {
			break
		}
		count++
	}
	return count, err
}

// Watch waits for the end of a process, and gives its reason.
func (back) Watch(ctx context.Context, of ei.Pid) (ei.Term, error) {
	b := nodes.MailboxOf(ctx)
	if _, err := b.Monitor(ctx, of); err != nil {
		return nil, err
	}
	m, err := b.Receive(ctx)
	if err != nil {
		return nil, err
	}
	return m.Reason, nil
}

// Echo makes a process that answers {Pid, Term} with {echoed, Self, Term}, and ends for {_, stop}.
func (k back) Echo() (ei.Pid, error) {
	b, err := k.n.NewMailbox(nil)
	if err != nil {
		return ei.Pid{}, err
	}
	go func() {
		for m, err := range b.All(context.Background()) {
			if err != nil {
				return
			}
			t, _ := m.Term()
			request, ok := t.(ei.Tuple)
			if !ok || len(request) != 2 {
				continue
			}
			if request[1] == ei.Term(ei.Atom("stop")) {
				b.Exit(ei.Atom("stopped"))
			} else if pid, ok := request[0].(ei.Pid); ok && request[1] == ei.Term(ei.Atom("from")) {
				_ = b.Send(context.Background(), pid, ei.T("echoed", b.Pid(), ei.Binary(string(m.From.Node)+"0")))
			} else if pid, ok := request[0].(ei.Pid); ok {
				_ = b.Send(context.Background(), pid, ei.T("echoed", b.Pid(), request[1]))
			}
		}
	}()
	return b.Pid(), nil
}

// Linked makes a process with a link to another one.
func (k back) Linked(ctx context.Context, to ei.Pid) (ei.Pid, error) {
	b, err := k.n.NewMailbox(nil)
	if err != nil {
		return ei.Pid{}, err
	}
	return b.Pid(), b.Link(ctx, to)
}

func (back) Exit(ctx context.Context, of ei.Pid, reason ei.Term) error {
	return nodes.MailboxOf(ctx).SendExit(ctx, of, reason)
}

func (k back) Processes() int { return len(slices.Collect(k.n.Processes())) }

// Stream sends so many messages of a size.
func (back) Stream(ctx context.Context, to ei.Pid, count, size int) (int, error) {
	b, data := nodes.MailboxOf(ctx), make([]byte, size)
	for i := range count {
		if err := b.Send(ctx, to, ei.T("part", i, data)); err != nil {
			return i, err
		}
	}
	return count, nil
}

// Clusters gives the errors of what needs a cluster.
func (k back) Clusters(ctx context.Context) (texts []string) {
	_, inGroups := pg.Start(ctx, k.n, "", nil)
	_, globally := global.Start(ctx, k.n, nil)
	kept := discovery.KeepConnected(k.n, nil, &discovery.Options{Logger: slog.New(slog.DiscardHandler)})
	<-kept.Done()
	for _, err := range []error{inGroups, globally, kept.Err()} {
		texts = append(texts, fmt.Sprint(err))
	}
	return texts
}

func setup(n *nodes.Node) error {
	total := 0
	_, err := n.Serve("counter", nodes.Server{On: map[string]nodes.Func{
		"upper": nodes.FuncOf(strings.ToUpper),
		"echo":  nodes.FuncOf(func(b []byte) []byte { return b }),
		"add":   nodes.FuncOf(func(x int) int { total += x; return total }),
		"crash": nodes.FuncOf(func(ctx context.Context) { nodes.MailboxOf(ctx).Exit(ei.Atom("crashed")) }),
	}}, nil)
	if err != nil {
		return err
	}
	return errors.Join(n.ExposeMethods("pricing", pricing{new(atomic.Int64)}), n.ExposeMethods("back", back{n}))
}

func main() { child.Main(setup) }
