package need

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorder is a testing.TB that remembers how its test was ended.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper() {}

func (r *recorder) Skip(...any) {
	r.skipped = true
	runtime.Goexit()
}

func (r *recorder) Fatalf(string, ...any) {
	r.failed = true
	runtime.Goexit()
}

// Missing skips a test, or fails it if nothing may be missing.
func TestMissing(t *testing.T) {
	end := func(require string) (skipped, failed bool) {
		t.Setenv(Variable, require)
		done := make(chan struct{})
		r := &recorder{TB: t}
		go func() {
			defer close(done)
			Missing(r, "no peer")
		}()
		<-done
		return r.skipped, r.failed
	}
	skipped, failed := end("")
	require.True(t, skipped)
	require.False(t, failed)
	skipped, failed = end("1")
	require.False(t, skipped)
	require.True(t, failed)
}
