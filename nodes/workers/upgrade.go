package workers

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
)

// StartWith is Start for a front that u upgrades, as Upgrader.Start is for a node: cfg.Node takes
// the place of u.Config, and the errors are those of Start and Restore. The front moves first, and
// then each worker by itself (see Front.UpgradeWorkers), which goes on beside u.Run; who has asked
// can wait for that with service.AskWorkers. Workers need no Upgrader: a process that is one
// (IsWorker) calls Join. systemd keeps no such node through a restart.
func StartWith(ctx context.Context, u *upgrade.Upgrader, cfg Config) (*Front, error) {
	u.Config = cfg.Node
	k := &making{cfg: cfg}
	if err := u.StartMaking(ctx, inside.Key{}, k); err != nil {
		return nil, err
	}
	return k.front, nil
}

// A making makes a front for an Upgrader.
type making struct {
	cfg   Config
	front *Front
}

func (*making) Form() string { return "cnode-upgrade-front-2" }

func (k *making) Begin(ctx context.Context, cfg nodes.Config) (inside.Whole[*nodes.Listener], error) {
	k.cfg.Node = cfg
	f, err := Start(ctx, k.cfg)
	if err != nil {
		return nil, err
	}
	k.front = f
	return crewed{f}, nil
}

func (k *making) Restore(cfg nodes.Config, state []byte, fds []int) (handoff.Staged, inside.Whole[*nodes.Listener], error) {
	k.cfg.Node = cfg
	staged, err := Restore(k.cfg, state, fds)
	if err != nil {
		return nil, nil, err
	}
	k.front = staged.Front()
	return staged, crewed{k.front}, nil
}

// A crewed is a front whose workers an Upgrader upgrades after it.
type crewed struct{ *Front }

func (c crewed) UpgradeCrew(ctx context.Context) (failures []error, err error) {
	list, err := c.UpgradeWorkers(ctx)
	for _, u := range list {
		if u.Err != nil {
			failures = append(failures, fmt.Errorf("worker %d (process %d): %w", u.Slot, u.Old, u.Err))
		}
	}
	return failures, err
}
