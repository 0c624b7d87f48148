package hush

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Strangers do not fill the log: there are so many warnings in a second, and the rest for debugging.
func TestHush(t *testing.T) {
	var h Hush
	now := time.Now()
	levels := func() (n [2]int) {
		for range 10 * PerSecond {
			if h.Level(now) == slog.LevelWarn {
				n[0]++
			} else {
				n[1]++
			}
		}
		return n
	}
	want := [2]int{PerSecond, 9 * PerSecond}
	require.Equal(t, want, levels())
	now = now.Add(time.Second - 1)
	require.Equal(t, [2]int{0, 10 * PerSecond}, levels())
	now = now.Add(1)
	require.Equal(t, want, levels())
}
