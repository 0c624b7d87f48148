package states

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizeIsReadAsItIsWritten(t *testing.T) {
	for _, x := range []Size{{}, {1, 2, 3, 4}, {9900, 1_000_000, 5_000_000, 1 << 33}} {
		b := x.Append(nil)
		got, err := ParseSize(append(b, 1, 2, 3)) // a later form says more
		require.NoError(t, err)
		require.Equal(t, x, got)
		for n := range b {
			_, err := ParseSize(b[:n])
			require.Error(t, err)
		}
	}
	_, err := ParseSize([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0})
	require.Error(t, err, "nothing has so many")
}
