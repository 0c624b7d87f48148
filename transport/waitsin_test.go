package transport

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// waitsIn waits until a goroutine is in that state, below that function; "" is any state in which
// it does not run.
func waitsIn(t testing.TB, state, function string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			head, _, _ := strings.Cut(g, "\n")
			if strings.Contains(head, "["+state) && !strings.Contains(head, "[run") && strings.Contains(g, function) {
				return true
			}
		}
		return false
	}, 20*time.Second, time.Millisecond, "nobody is in %s: %s", function, state)
}
