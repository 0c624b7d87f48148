package main

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// groups is how many the members join, as in bench_groups.erl.
const groups = 100

// serveGroups serves what bench_groups.erl serves: a scope, and members that join and leave one
// after the other.
func serveGroups(ctx context.Context, cfg nodes.Config) error {
	cfg.Visible = true
	cfg.Setup = func(n *nodes.Node) error {
		scope, err := pg.Start(ctx, n, "bench", nil)
		if err != nil {
			return err
		}
		var members []*nodes.Mailbox
		n.Expose("bench_groups", "make", nodes.FuncOf(func(count int) (ei.Atom, error) {
			for range count {
				b, err := n.NewMailbox(nil)
				if err != nil {
					return "", err
				}
				members = append(members, b)
			}
			return "ok", nil
		}))
		each := func(change func(ctx context.Context, group any, members ...*nodes.Mailbox) error) nodes.Func {
			return nodes.FuncOf(func(ctx context.Context) (ei.Atom, error) {
				for i, b := range members {
					if err := change(ctx, ei.Tuple{ei.Atom("group"), ei.Int((i + 1) % groups)}, b); err != nil {
						return "", err
					}
				}
				return "ok", nil
			})
		}
		n.Expose("bench_groups", "join", each(scope.Join))
		n.Expose("bench_groups", "leave", each(scope.Leave))
		return nil
	}
	return startAndServe(ctx, cfg)
}
