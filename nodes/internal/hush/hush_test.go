package hush

import (
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Strangers cannot fill the log: only so many messages a second keep their level, and the rest are
// logged at Debug.
func TestHush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hush
		levels := func() [2]int {
			var said strings.Builder
			l := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			for range 10 * PerSecond {
				h.Log(l, slog.LevelWarn, "who is there?", "name", "x")
			}
			require.Equal(t, 10*PerSecond, strings.Count(said.String(), `msg="who is there?" name=x`))
			return [2]int{strings.Count(said.String(), "level=WARN"), strings.Count(said.String(), "level=DEBUG")}
		}
		want := [2]int{PerSecond, 9 * PerSecond}
		require.Equal(t, want, levels())
		time.Sleep(time.Second - 1)
		require.Equal(t, [2]int{0, 10 * PerSecond}, levels())
		time.Sleep(time.Nanosecond)
		require.Equal(t, want, levels())
	})
}

// Each function or server is heard once a minute, with how often it would have been, however many
// others there are; of very many only some are.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Each
		var said strings.Builder
		l := slog.New(slog.NewTextHandler(&said, nil))
		heard := func(names int) int {
			said.Reset()
			for i := range 3 * names {
				e.Log(l, slog.LevelWarn, strconv.Itoa(i%names), "no term")
			}
			return strings.Count(said.String(), "no term")
		}
		require.Equal(t, 10, heard(10))
		require.NotContains(t, said.String(), "times")
		time.Sleep(time.Minute - 1)
		require.Equal(t, 0, heard(10))
		require.Equal(t, 10, heard(20))
		time.Sleep(time.Nanosecond)
		require.Equal(t, 10, heard(20))
		require.Equal(t, 10, strings.Count(said.String(), "times=9\n"), said.String())
		time.Sleep(time.Minute)
		require.Equal(t, most, heard(2*most))
		require.Equal(t, most, len(e.about))
		time.Sleep(time.Minute)
		e.Log(l, slog.LevelWarn, "another", "no term")
		require.Equal(t, 1, len(e.about))
	})
}
