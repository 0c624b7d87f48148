package gate

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
)

// A deafQueue writes what has one part, and waits with the rest.
type deafQueue struct {
	queue.Queue
	waits chan struct{} // that it does
}

func (q deafQueue) Deliver(ctx context.Context, v ...[]byte) (int64, error) {
	if len(v) == 1 {
		return int64(len(v[0])), nil
	}
	close(q.waits)
	<-ctx.Done()
	return 0, ctx.Err()
}

// An answer that a node does not take is late in its time, whatever else the node has taken.
func TestAnswerThatNobodyTakes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e, over := &end{q: deafQueue{waits: make(chan struct{})}}, make(chan error, 1)
	isLate := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.isLate(time.Now().Add(writeTime + time.Minute))
	}
	go func() { over <- e.put(ctx, []byte("an"), []byte("answer")) }()
	<-e.q.(deafQueue).waits
	require.NoError(t, e.put(ctx, []byte("a message of the other direction")))
	require.True(t, isLate())
	cancel()
	require.ErrorIs(t, <-over, context.Canceled)
	require.False(t, isLate())
}
