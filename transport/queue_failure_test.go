//go:build unix

package transport

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A write that fails half-way, also under NoWait, makes every later write return that failure, and
// not a time-out.
func TestStreamPoisonedByFailure(t *testing.T) {
	k := &sink{room: 3, portion: func() int { return 3 }}
	s := newStream(k, nil, connected)
	n, err := s.Writev(soon(t), []byte("abcdef"))
	require.ErrorIs(t, err, errFull)
	require.EqualValues(t, 3, n)
	_, err = s.Writev(soon(t), []byte("x"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorIs(t, err, errFull)
	require.NotContains(t, err.Error(), "cancel")

	canceled, cancel := context.WithCancel(context.Background())
	k = &sink{room: 9, portion: func() int { cancel(); return 3 }}
	s = newStream(k, nil, connected)
	require.ErrorIs(t, expect.Err(s.Writev(canceled, []byte("abcdef"))), context.Canceled)
	_, err = s.Writev(soon(t), []byte("x"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.NotErrorIs(t, err, context.Canceled, "this call's context lives")

	limited := newGrantCarrier(false, 1<<10)
	limited.room = 3
	s = newStream(limited, nil, connected)
	n, err = s.Writev(NoWait(), []byte("abcdef"))
	require.True(t, isTimeout(err))
	require.EqualValues(t, 3, n)
	_, err = s.Writev(soon(t), []byte("x"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.False(t, isTimeout(err), "after which one might try again")
}

// A failure names the operation and the peer, whichever goroutine wrote and whichever gets the
// error.
func TestQueueFailureNamesThePeer(t *testing.T) {
	t.Run("by the caller", func(t *testing.T) {
		k := newGrantCarrier(false, 1)
		k.failure = syscall.EPIPE
		err := newPostQueue(newStream(k, MemoryAddr("peer"), connected), nil).Post(soon(t), []byte("x"), nil, 0)
		require.EqualError(t, err, "write "+MemoryAddr("peer").String()+": "+syscall.EPIPE.Error())
	})
	for name, slow := range map[string]bool{"by the flusher": true, "behind a write": false} {
		t.Run(name, func(t *testing.T) {
			k := newGrantCarrier(slow, 1)
			remote := MemoryAddr("peer")
			q := newPostQueue(newStream(k, remote, connected), nil)
			require.NoError(t, q.Post(soon(t), []byte("first"), nil, 0)) // finds no room
			second := writes(t, q, context.Background(), "second")
			k.set(func() { k.failure = syscall.EPIPE })
			for _, err := range []error{expect.Returns(t, second).err, q.Post(soon(t), []byte("x"), nil, 0), q.Flush(soon(t))} {
				op := expect.As[*OpError](t, err)
				require.Equal(t, "write", op.Op)
				require.Equal(t, remote, op.Addr)
				require.ErrorIs(t, err, syscall.EPIPE)
			}
			waits, _ := q.Buffered()
			require.Zero(t, waits)
		})
	}
}
