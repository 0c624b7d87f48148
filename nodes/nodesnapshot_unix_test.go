//go:build unix

package nodes

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A countdown is a context that ends when it has been asked for its error some times.
type countdown struct {
	context.Context
	left atomic.Int64
}

func endsAfter(looks int64) *countdown {
	c := &countdown{Context: context.Background()}
	c.left.Store(looks)
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// fill puts messages into a mailbox.
func fill(b *Mailbox, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range count {
		b.push(&Message{})
	}
}

// The time for a freeze counts while the state is being written, too: when it is over, nothing
// further is described.
func TestSnapshotGivesUp(t *testing.T) {
	w := newWorld(t, movers[0])
	n := w.started("front")
	var b *Mailbox
	for range 3 {
		b = box(t, n)
		fill(b, 3*messagesALook)
	}
	f, err := n.Freeze(w.ctx())
	require.NoError(t, err)
	defer f.Thaw()
	whole := len(f.state)
	for looks := range int64(3) {
		s, err := b.state(endsAfter(looks))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, s.Messages, int(looks)*messagesALook)
	}
	for looks := range int64(20) {
		ctx := endsAfter(looks)
		f := &Frozen{n: n, listeners: f.listeners}
		var s states.Node
		require.ErrorIs(t, f.snapshot(ctx, &s), context.DeadlineExceeded, looks)
		require.Nil(t, f.state)
		require.LessOrEqual(t, len(s.Mailboxes), int(looks))
		require.Less(t, ctx.left.Load(), int64(0))
	}
	again := &Frozen{n: n, listeners: f.listeners}
	require.NoError(t, again.snapshot(w.ctx(), &states.Node{}))
	require.Len(t, again.state, whole)
}

// Erasing the keys of a state takes no longer if there are many messages in it.
func TestClearKeysOfLargeState(t *testing.T) {
	keys := []byte("the keys of the session")
	tr := keyed(t, func() []byte { return bytes.Clone(keys) })
	w := newWorld(t, "tcp")
	w.started("peer")
	n := w.started("front", func(c *Config) { c.Transport = tr })
	_, err := n.Connect(w.ctx(), "peer@test")
	require.NoError(t, err)
	b := box(t, n)
	fill(b, 10_000)
	f, err := n.Freeze(w.ctx())
	require.NoError(t, err)
	defer f.Thaw()
	require.Contains(t, string(f.state), string(keys))
	require.Less(t, testing.AllocsPerRun(10, func() { clearKeys(f.state) }), 20.0)
	require.NotContains(t, string(f.state), string(keys))
}
