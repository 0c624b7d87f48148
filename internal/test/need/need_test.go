package need

import (
	"math"
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

func (r *recorder) Skipf(string, ...any) { r.Skip() }

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

// A test that needs more descriptors than the process may have is skipped, even where nothing may
// be missing.
func TestDescriptors(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such limit there")
	}
	t.Setenv(Variable, "1")
	Descriptors(t, 1)
	done, r := make(chan struct{}), &recorder{TB: t}
	go func() {
		defer close(done)
		Descriptors(r, math.MaxUint64-1) // one more is no limit
	}()
	<-done
	require.True(t, r.skipped)
	require.False(t, r.failed)
}

// By day a sample that can be had again, and at night all.
func TestSample(t *testing.T) {
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}
	t.Setenv("CNODE_TEST_SEED", "7")
	some := Sample(t, 4, all)
	require.Equal(t, some, Sample(t, 4, all))
	require.Subset(t, all, some)
	require.IsIncreasing(t, some)
	require.Len(t, some, Fewer(4, 9))
}
