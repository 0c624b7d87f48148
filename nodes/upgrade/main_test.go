package upgrade_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/test/leak"
)

// role is the environment variable that makes this program a service of the test's.
const role = "CNODE_TEST_COUNTER"

func TestMain(m *testing.M) {
	if name := os.Getenv(role); name != "" {
		counter(name)
		return
	}
	os.Exit(leak.Run(m))
}

// counter is a service: a node with a process that counts.
func counter(name string) {
	total := 0
	u := upgrade.Upgrader{Config: nodes.Config{
		Name: name, Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}, Logger: slog.Default(),
		Setup: func(n *nodes.Node) error {
			if blob, ok := n.Inherited(); ok {
				fmt.Sscan(string(blob), &total)
			}
			n.Expose("os", "getpid", nodes.FuncOf(os.Getpid))
			_, err := n.Serve("counter", nodes.Server{On: map[string]nodes.Func{
				"add":  nodes.FuncOf(func(k int) int { total += k; return total }),
				"slow": func(context.Context, []ei.Term) (any, error) { select {} },
			}}, nil)
			return err
		},
		Handover: func(context.Context) ([]byte, error) { return fmt.Append(nil, total), nil },
	}}
	if program := os.Getenv(role + "_NEXT"); program != "" {
		u.Command = []string{program}
	}
	ctx := context.Background()
	n, err := u.Start(ctx)
	if err == nil {
		n.Expose("upgrader", "upgrade", nodes.FuncOf(func() error { go u.Upgrade(ctx); return nil }))
		fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
		err = u.Run(ctx)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("left", os.Getpid())
}
