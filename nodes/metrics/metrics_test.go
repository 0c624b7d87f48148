package metrics

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		bytes int
		want  string
	}{
		{0, "64B"}, {1, "64B"}, {64, "64B"}, {65, "1KiB"}, {1 << 10, "1KiB"}, {1<<10 + 1, "16KiB"}, {16 << 10, "16KiB"}, {16<<10 + 1, "256KiB"},
		{256 << 10, "256KiB"}, {256<<10 + 1, "4MiB"}, {4 << 20, "4MiB"}, {4<<20 + 1, "more"}, {1 << 40, "more"},
	} {
		s := SizeOf(tt.bytes)
		require.Equal(t, tt.want, s.String(), tt.bytes)
		require.True(t, s.Limit() == 0 || tt.bytes <= s.Limit())
	}
}

func TestNameOfCall(t *testing.T) {
	require.Equal(t, "a:b", (&CallInfo{Module: "a", Function: "b", Err: errors.New("x")}).Name())
}
