package scarce

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDescriptors(t *testing.T) {
	enough := Descriptors(t, 0)
	_, err := os.Open(os.DevNull)
	enough()
	require.ErrorIs(t, err, syscall.EMFILE)
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
