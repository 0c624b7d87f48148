package global

import (
	"context"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A letter on a connection that has moved is lost, and those after it are sent; if the node has
// moved, they are the other process's.
func TestOutboxAfterMove(t *testing.T) {
	for _, moved := range []bool{false, true} {
		results := make(chan error)
		var sent atomic.Int32
		o := newOutbox(func(ctx context.Context, _ letter) error {
			sent.Add(1)
			return <-results
		}, func() bool { return moved }, false)
		post := func() { o.post(letter{Node: "b@test", Payload: ei.Raw{}}) }
		go post()
		results <- os.ErrDeadlineExceeded
		eventually(t, func() bool { return len(o.waiting()) == 1 && sent.Load() == 2 })
		post() // waits behind the first
		results <- nodes.ErrMoved
		if moved {
			eventually(t, func() bool { return len(o.waiting()) == 2 })
			continue
		}
		results <- nil
		o.flushed(within(t), "b@test")
		require.EqualValues(t, 3, sent.Load())
		go post()
		results <- nil
		eventually(t, func() bool { return sent.Load() == 4 })
		require.Empty(t, o.waiting())
	}
}

// What waits for a node that does not read is bounded, in letters and in bytes, and all of it is
// gone once the node reads.
func TestOutboxBounds(t *testing.T) {
	for size, want := range map[int]int{10: maxLetters, 1 << 20: maxLetterBytes >> 20} {
		reads := make(chan struct{})
		o := newOutbox(func(ctx context.Context, _ letter) error {
			select {
			case <-reads:
				return nil
			default:
			}
			if transport.IsNoWait(ctx) {
				return os.ErrDeadlineExceeded
			}
			<-reads
			return nil
		}, func() bool { return false }, false)
		payload := make(ei.Raw, size)
		for range maxLetters + 100 {
			o.post(letter{Node: "b@test", Payload: payload})
		}
		require.Equal(t, want, len(o.waiting())) // Len would print them
		close(reads)
		o.flushed(within(t), "b@test")
		require.Empty(t, o.bytes)
	}
}
