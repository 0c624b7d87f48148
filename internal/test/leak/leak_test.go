package leak

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestLeft(t *testing.T) {
	before := Descriptors()
	if before == nil {
		t.Skip("open descriptors cannot be listed here")
	}
	require.Empty(t, Left(before))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.Len(t, Left(before), 2)
	require.NoError(t, r.Close())
	require.NoError(t, w.Close())
	require.Empty(t, Left(before))
}

// A goroutine that waits is a leak; one that has ended is not, however late it ended.
func TestGoroutines(t *testing.T) {
	leave := make(chan struct{})
	go func() { <-leave }()
	require.ErrorContains(t, goleak.Find(), "TestGoroutines")
	close(leave)
	require.NoError(t, goroutines())
}
