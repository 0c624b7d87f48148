package accord

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// A Node is a Member in this process.
type Node struct {
	*nodes.Node
	Global *global.Global
	boxes  [Processes + 1]*nodes.Mailbox
}

// Setup is the node's Config.Setup.
func (x *Node) Setup(n *nodes.Node) (err error) {
	x.Node = n
	x.Global, err = global.Start(context.Background(), n, nil)
	return err
}

func (x *Node) Register(ctx context.Context, name string, i int, method global.Method) (err error) {
	if b := x.boxes[i]; b == nil || b.Err() != nil {
		if x.boxes[i], err = x.Node.NewMailbox(nil); err != nil {
			return err
		}
	}
	return x.Global.Register(ctx, name, x.boxes[i], method)
}

func (x *Node) Unregister(ctx context.Context, name string) error {
	return x.Global.Unregister(ctx, name)
}

func (x *Node) Whereis(context.Context) (map[string]ei.Pid, error) {
	table := map[string]ei.Pid{}
	for name := range x.Global.Names() {
		if pid, ok := x.Global.Whereis(name); ok {
			a, _ := name.(ei.Atom)
			table[string(a)] = pid
		}
	}
	return table, nil
}

func (x *Node) Living(context.Context) (list []ei.Pid, err error) {
	for _, b := range x.boxes {
		if b != nil && b.Err() == nil {
			list = append(list, b.Pid())
		}
	}
	return list, nil
}

func (x *Node) Known(context.Context) ([]string, error) { return x.Global.Known(), nil }

func (x *Node) Sync(ctx context.Context) error { return x.Global.Sync(ctx) }

func (x *Node) Trans(ctx context.Context, resource string, hold time.Duration) error {
	return x.Global.Trans(ctx, global.Lock{Resource: resource}, func(ctx context.Context) error {
		select {
		case <-time.After(hold):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

func (x *Node) End(i int) {
	if b := x.boxes[i]; b != nil {
		b.Exit(ei.Atom("ended"))
	}
}

func (x *Node) Disturb(r *rand.Rand) (what string) {
	for _, name := range []string{"global_name_server", "cnode_global_locker"} {
		if b := x.Node.Whereis(name); b != nil && r.IntN(2) == 0 {
			b.Exit(ei.Atom("killed"))
			what += name + " "
		}
	}
	return what
}

func (x *Node) Connect(ctx context.Context, name string) {
	if x.Node.Conn(name) == nil {
		_, _ = x.Node.Connect(ctx, name) // a node that cannot be connected to is met later
	}
}
