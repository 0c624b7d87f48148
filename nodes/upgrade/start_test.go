package upgrade_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// Who can reach the node before Start has returned cannot have it handed over yet.
func TestUpgradeBeforeStart(t *testing.T) {
	var early error
	u := &upgrade.Upgrader{}
	u.Config = nodes.Config{
		Name: "early@127.0.0.1", Cookie: "secret", Resolver: nodes.Static{},
		Setup: func(*nodes.Node) error {
			_, early = u.Upgrade(context.Background())
			return early
		},
	}
	_, err := u.Start(t.Context())
	require.ErrorIs(t, err, service.ErrStarts)
	require.ErrorIs(t, early, service.ErrStarts)
}
