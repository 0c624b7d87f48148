package console_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/transport"
)

// Operators type erl -remsh shop@host, and have the node's own commands and the shop's. Here Go
// types for them.
func Example() {
	tr := transport.NewMemory()
	table := nodes.Static{"shop@host": {Addr: transport.MemoryAddr("shop")}, "ops@host": {Addr: transport.MemoryAddr("ops")}}

	level := new(slog.LevelVar) // the console changes it
	logs := console.NewLog(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	level.Set(slog.LevelError)
	quote := func(sku string, quantity int) (console.Text, error) {
		return console.Text(fmt.Sprintf("%d of %s are %d.00\n", quantity, sku, 4*quantity)), nil
	}
	shop := start(nodes.Config{
		Name: "shop@host", Cookie: "secret", Logger: slog.New(logs),
		Transport: tr, Listen: table["shop@host"].Addr, Resolver: table, // leave these out
		Setup: func(n *nodes.Node) error {
			return console.Serve(n, &console.Options{
				Commands: []console.Command{
					{Name: "quote", Args: "SKU QUANTITY", Help: "the price of an order", Func: quote},
				},
				Log: logs, Level: level,
			})
		},
		Rules: append(console.Rules("ops*@*"),
			nodes.Rule{Permission: nodes.MaySend, Target: "orders", Allow: true},
			nodes.Rule{}, // nothing else
		),
	})
	defer shop.Close()

	ops := start(nodes.Config{Name: "ops@host", Cookie: "secret", Transport: tr, Listen: table["ops@host"].Addr, Resolver: table})
	defer ops.Close()
	remsh(ops, "quote <<\"A-100\">> 3\nquote(\"A-100\", many).\nquit\n")
	// Output:
	// Go console of shop@host; help lists the commands, quit leaves
	// shop@host> 3 of A-100 are 12.00
	// shop@host> ** quote: argument 2: ei: atom many where an integer is due
	// shop@host>
}

func start(cfg nodes.Config) *nodes.Node {
	n, err := nodes.New(cfg)
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	return n
}

// remsh does what erl -remsh does.
func remsh(n *nodes.Node, keys string) {
	ctx := context.Background()
	screen, err := groupleader.Serve(n, "", os.Stdout, &groupleader.Options{In: strings.NewReader(keys)})
	if err != nil {
		log.Fatal(err)
	}
	shell, err := n.RPC(nodes.WithGroupLeader(ctx, screen.Pid()), "shop@host", "shell", "start")
	if err != nil {
		log.Fatal(err)
	}
	box, err := n.NewMailbox(nil)
	if err == nil {
		_, err = box.Monitor(ctx, shell.(ei.Pid))
	}
	if err == nil {
		_, err = box.Receive(ctx) // its end
	}
	if err != nil {
		log.Fatal(err)
	}
}
