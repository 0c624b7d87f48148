package global

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
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
