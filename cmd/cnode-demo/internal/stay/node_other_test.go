//go:build !linux

package stay

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func node(string) int { return 1 }
func tell(bool) int   { return 1 }

func TestOnlyLinux(t *testing.T) {
	self, err := exec.LookPath("go")
	require.NoError(t, err)
	err = run([]string{self, "version"})
	require.ErrorIs(t, err, ErrSystem)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
