package main

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// serveGroups serves what bench_groups.erl serves: a scope, and members that join one after the other, and leave
// together.
func serveGroups(ctx context.Context, cfg nodes.Config) error {
	cfg.Visible = true
	cfg.Setup = func(n *nodes.Node) error {
		scope, err := pg.Start(n, "bench", nil)
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
		n.Expose("bench_groups", "join", nodes.FuncOf(func(ctx context.Context) (ei.Atom, error) {
			for _, b := range members {
				if err := scope.Join(ctx, ei.Atom("group"), b); err != nil {
					return "", err
				}
			}
			return "ok", nil
		}))
		n.Expose("bench_groups", "leave", nodes.FuncOf(func(ctx context.Context) (ei.Atom, error) {
			return "ok", scope.Leave(ctx, ei.Atom("group"), members...)
		}))
		return nil
	}
	return startAndServe(ctx, cfg)
}
