package await

import (
	"context"
	"os"
	"runtime"
	"testing"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// tooLong bounds what takes milliseconds unless something is broken.
const tooLong = expect.Limit

func soon(t testing.TB) context.Context { return expect.Context(t) }

// returns waits for an operation in another goroutine, which must come back.
func returns[T any](t testing.TB, c <-chan T) T { t.Helper(); return expect.Returns(t, c) }

// aside runs an operation in another goroutine and gives its error.
func aside(op func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- op() }()
	return c
}

// processors sets GOMAXPROCS for a test.
func processors(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}
