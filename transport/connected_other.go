//go:build unix && !linux

package transport

import (
	"context"
	"os"
)

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *waiter) connected(ctx context.Context) (result error) {
	done := false
	check := func(fd uintptr) bool { done, result = connectResult(int(fd)); return done }
	if isSingle(ctx) {
		if err := w.raw.Write(func(fd uintptr) bool { check(fd); return true }); err != nil {
			return err
		}
		if !done {
			return os.ErrDeadlineExceeded
		}
		return result
	}
	if err := awaitConnect(ctx, &w.out, check); err != nil {
		return err
	}
	return result
}
