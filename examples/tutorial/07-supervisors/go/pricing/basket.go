package main

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A basket is what processes have reserved, by the monitor that watches each.
type basket map[ei.Ref]string

func (b basket) reserve(ctx context.Context, sku string) error {
	ref, err := nodes.MailboxOf(ctx).Monitor(ctx, nodes.CallerOf(ctx))
	if err == nil {
		b[ref] = sku
	}
	return err
}

func (b basket) count() int { return len(b) }

// info gets every message that is no request, such as the end of a monitored process.
func (b basket) info(_ context.Context, _ *nodes.Mailbox, m *nodes.Message) {
	if m.Op != dist.OpMonitorPExit {
		return
	}
	if reason, err := m.Reason.Decode(); err == nil {
		fmt.Println(b[m.Ref], "is free again:", reason)
	}
	delete(b, m.Ref)
}

// pid is the process that a caller links to.
func pid(ctx context.Context) ei.Pid { return nodes.MailboxOf(ctx).Pid() }
