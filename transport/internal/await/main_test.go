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

// processors sets GOMAXPROCS for a test.
func processors(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}
