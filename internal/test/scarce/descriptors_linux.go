package scarce

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Descriptors limits the numbers of new descriptors to less than n, for the whole process, until
// enough is called (RLIMIT_NOFILE, see getrlimit(2)). Descriptors that are open stay open.
func Descriptors(t testing.TB, n uint64) (enough func()) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: limit.Max}))
	return func() {
		t.Helper()
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	}
}
