//go:build unix

package discovery

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// duplicates are descriptors as another process would get them.
func duplicates(t testing.TB, fds []int) (all []int) {
	for _, fd := range fds {
		d, err := syscall.Dup(fd)
		require.NoError(t, err)
		syscall.CloseOnExec(d)
		all = append(all, d)
	}
	return all
}
