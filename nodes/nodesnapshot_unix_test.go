//go:build unix

package nodes

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

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
	n := newWorld(t, movers[0]).started("front")
	boxes := []*Mailbox{box(t, n), box(t, n), box(t, n)}
	f := freeze(t, n)
	defer f.Thaw()
	// only now: to describe all of them takes a busy machine longer than a Freeze may
	for _, b := range boxes {
		fill(b, 10_000)
	}
	first := &Frozen{n: n, listeners: f.listeners}
	require.NoError(t, first.snapshot(soon(t), &states.Node{}))
	whole := len(first.state)
	for looks := range int64(20) {
		ctx := endsAfter(looks)
		f := &Frozen{n: n, listeners: f.listeners}
		require.ErrorIs(t, f.snapshot(ctx, &states.Node{}), context.DeadlineExceeded, looks)
		require.Nil(t, f.state)
		require.Less(t, ctx.left.Load(), int64(0))
		require.Greater(t, ctx.left.Load(), int64(-5), "nothing more is looked at")
	}
	again := &Frozen{n: n, listeners: f.listeners}
	require.NoError(t, again.snapshot(soon(t), &states.Node{}))
	require.Len(t, again.state, whole)
}

// Before anything stops it is known how large the state is, and that it will not be written in
// time.
func TestNodeSize(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	before := n.size()
	fill(box(t, n), 3)
	b := box(t, n)
	require.NoError(t, b.Send(t.Context(), b.Pid(), make([]byte, 1000)))
	x := n.size()
	require.Equal(t, []int{2, 4}, []int{x.Mailboxes - before.Mailboxes, x.Messages - before.Messages})
	require.InDelta(t, 1000, x.Bytes-before.Bytes, 100)
	f := freeze(t, n)
	require.Less(t, len(f.State()), 2*x.State())
	require.Greater(t, 2*len(f.State()), x.State())
	f.Thaw()
	require.Less(t, states.Size{Mailboxes: 1_000_000}.Least(), freezeBudgetMost)
	require.Greater(t, states.Size{Messages: 30_000_000}.Least(), freezeBudgetMost)
	e := &TooLargeError{Mailboxes: 7, Messages: 30_000_000, Bytes: 9, Least: 9 * time.Second}
	require.ErrorContains(t, e, "7 mailboxes with 30000000 unread messages of 9 bytes take at least 9s to write, and 5s is the most")
}

// What a state describes is made with few allocations.
func TestRestoreAllocations(t *testing.T) {
	const boxes, messages = 1000, 10
	n := newWorld(t, "tcp").started("front")
	for range boxes {
		b := box(t, n)
		for range messages {
			require.NoError(t, b.Send(t.Context(), b.Pid(), make([]byte, 20)))
		}
	}
	f := freeze(t, n)
	defer f.Thaw()
	each := testing.AllocsPerRun(3, func() {
		g, s, err := stageNode(again(n), f.state)
		require.NoError(t, err)
		require.NoError(t, g.mailboxes(&s.Mailboxes))
		require.NoError(t, g.Discard())
	}) / boxes
	require.Less(t, each, 15.0, "for a mailbox and its messages")
	require.Less(t, testing.AllocsPerRun(3, func() {
		f := &Frozen{n: n, listeners: f.listeners}
		require.NoError(t, f.snapshot(t.Context(), &states.Node{}))
	})/boxes, 10.0)
}

// Erasing the keys of a state takes no longer if there are many messages in it.
func TestClearKeysOfLargeState(t *testing.T) {
	keys := []byte("the keys of the session")
	tr := keyed(t, func() []byte { return bytes.Clone(keys) })
	w := newWorld(t, "tcp")
	w.started("peer")
	n := w.started("front", func(c *Config) { c.Transport = tr })
	connect(t, n, "peer@test")
	b := box(t, n)
	fill(b, 10_000)
	f := freeze(t, n)
	defer f.Thaw()
	require.Contains(t, string(f.state), string(keys))
	require.Less(t, testing.AllocsPerRun(10, func() { clearKeys(f.state) }), 20.0)
	require.NotContains(t, string(f.state), string(keys))
}
