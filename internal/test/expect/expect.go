// Package expect waits for what has to happen.
package expect

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Limit is how long a test waits for what has to happen: long enough for the slowest and busiest
// machine.
const Limit = time.Minute

// Context is for operations that must succeed.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	t.Cleanup(cancel)
	return ctx
}

// Returns waits for an operation in another goroutine, which must come back.
func Returns[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(Limit):
		require.FailNow(t, "an operation did not return")
	}
	return v
}

// WaitsIn waits until a goroutine is in that state, below that function; "" is any state in which
// it does not run.
func WaitsIn(t testing.TB, state, function string) {
	t.Helper()
	WaitIn(t, 1, state, function)
}

// WaitIn waits until so many goroutines at least are as WaitsIn says.
func WaitIn(t testing.TB, count int, state, function string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	require.Eventually(t, func() bool { return areIn(buf, count, state, function) }, Limit, time.Millisecond,
		"not %d are in %s: %s", count, function, state)
}

// WaitsInBubble is WaitsIn in a bubble of testing/synctest, where time stands still while a
// goroutine waits for a socket: it looks again and again, and has no limit.
func WaitsInBubble(state, function string) {
	for buf := make([]byte, 1<<20); !areIn(buf, 1, state, function); {
		runtime.Gosched()
	}
}

func areIn(buf []byte, count int, state, function string) bool {
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "["+state) && !strings.Contains(head, "[run") && strings.Contains(g, function) {
			count--
		}
	}
	return count <= 0
}
