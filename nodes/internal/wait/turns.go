package wait

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstSlice is how long ByTurns first lets the readers go on, and then stops them. Both times
	// double with each turn; readers go on for sliceMost at the longest.
	firstSlice = 50 * time.Millisecond
	sliceMost  = 400 * time.Millisecond
)

// ByTurns waits until nothing runs (idle) while the readers have stopped, and leaves them stopped
// until resume. The readers cannot be stopped before the wait: a running function may wait for a
// message that a reader would bring (a deadlock). Nor can they be stopped after it: what they read
// may start one function after the other (the wait would never end). So by turns everything goes on
// for a while, and the readers stop for a while. Each stop is longer than the one before, and the
// last takes a quarter of the time or more, so that a function that merely takes long can finish
// then. The error is stop's, or ctx's.
func ByTurns(ctx context.Context, idle func(context.Context) error, stop func() (resume func(), err error)) (resume func(), err error) {
	within := func(d time.Duration) error {
		slice, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return idle(slice)
	}
	for d := firstSlice; ctx.Err() == nil; d *= 2 {
		_ = within(min(d, sliceMost))
		if resume, err = stop(); err != nil {
			return nil, err
		}
		if within(d) == nil {
			return resume, nil
		}
		resume()
	}
	return nil, ctx.Err()
}

// InTurn takes steps, until one fails.
func InTurn(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ErrSkipped is the error of what is to be left out: see Together.
var ErrSkipped = errors.New("it is to be left out")

// Together does something with each of a list, several at a time, and lists those for which it
// succeeded. The error is the first one, but for ErrSkipped.
func Together[T any](several int, all []T, what func(T) error) (done []T, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(several, len(all)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				e := what(all[i])
				mu.Lock()
				switch {
				case e == nil:
					done = append(done, all[i])
				case e != ErrSkipped && err == nil:
					err = e
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return done, err
}
