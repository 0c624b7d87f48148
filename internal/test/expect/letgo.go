package expect

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// Lent gives a buffer to an operation on another goroutine, and forgets the buffer.
func Lent(size int, operation func(b []byte)) <-chan weak.Pointer[byte] {
	done := make(chan weak.Pointer[byte], 1)
	go func() {
		b := make([]byte, size)
		operation(b)
		done <- weak.Make(&b[0])
	}()
	return done
}

// LetGo waits until nobody keeps a buffer.
func LetGo(t testing.TB, lent <-chan weak.Pointer[byte]) {
	t.Helper()
	b := Returns(t, lent)
	require.Eventually(t, func() bool { runtime.GC(); return b.Value() == nil }, Limit, time.Millisecond)
}
