package global

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// A node that does not answer in time that a lock is released gets to know it all the same: else
// nobody could lock it any more.
func TestReleaseInTime(t *testing.T) {
	one, other := newWorld(t).meeting(t)
	id := ei.Tuple{a("shelf"), a("one")}
	by := one.helper.Mailbox()
	require.True(t, one.setLocksBy(within(t), by, id, []string{"b@test"}))
	require.False(t, other.canLock(ei.Tuple{a("shelf"), a("other")}))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	one.delLocksBy(over, by, id, []string{"b@test"})
	eventually(t, func() bool { return other.canLock(ei.Tuple{a("shelf"), a("other")}) })
}

// A node that answers nothing keeps a lock from others for as long as it may take, and not for
// twice that: its end is told, and not waited for.
func TestLockInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		var one *Global
		net.Node("a", func(cfg *nodes.Config) {
			cfg.Visible, cfg.Setup = true, func(n *nodes.Node) (err error) {
				one, err = Start(t.Context(), n, nil)
				return err
			}
		})
		var asked []ei.Term
		_, err := net.Node("b").Handle(serverName, func(_ *nodes.Mailbox, m *nodes.Message) {
			if call, err := m.Term(); err == nil {
				asked = append(asked, call.(ei.Tuple)[2])
			}
		}, nil)
		require.NoError(t, err)
		begun, id := time.Now(), ei.Tuple{a("shelf"), a("one")}
		require.False(t, one.setLocksBy(t.Context(), one.helper.Mailbox(), id, []string{"b@test"}))
		require.Equal(t, answerTime, time.Since(begun))
		synctest.Wait()
		require.Equal(t, []ei.Term{ei.Tuple{a("set_lock"), id}, ei.Tuple{a("del_lock"), id}}, asked)
	})
}
