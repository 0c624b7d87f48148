package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A message that is put back counts again, and comes first.
func TestBacklogPutBackComesFirst(t *testing.T) {
	var u backlog
	one, other := &Message{Payload: make([]byte, 10)}, &Message{Payload: make([]byte, 3000)}
	u.add(one)
	u.add(other)
	require.Equal(t, cost(one)+cost(other), u.bytes)
	require.Same(t, one, u.take())
	require.Equal(t, cost(other), u.bytes)
	u.putBack(one)
	require.Equal(t, cost(one)+cost(other), u.bytes)
	require.Same(t, one, u.take())
	require.Same(t, other, u.take())
	require.Zero(t, u.bytes)
	require.Zero(t, u.len())
}

// Messages that nobody receives are bounded by their number and by their memory.
func TestBacklogIsFull(t *testing.T) {
	var u backlog
	for range maxUnread {
		require.False(t, u.isFull())
		u.add(&Message{})
	}
	require.True(t, u.isFull())
	u = backlog{bytes: DefaultMailboxLimit - 1}
	require.False(t, u.isFull())
	u.bytes++
	require.True(t, u.isFull())
}
