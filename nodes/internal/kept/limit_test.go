package kept

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
)

func newLimit() (*Limit[int], *strings.Builder) {
	log := new(strings.Builder)
	return NewLimit[int](1000, "Options.Limit", slog.New(slog.NewTextHandler(log, nil))), log
}

// What is left out is counted, told once of each node, and an error until it is here, or gone.
func TestLimitTells(t *testing.T) {
	l, log := newLimit()
	full := errors.New("full")
	require.NoError(t, l.Err("know", full))
	for range 3 {
		l.LeaveOut(1, "a@h", 2, 20)
		l.LeaveOut(2, "b@h", 1, 10)
		l.LeaveOut(3, "b@h", 1, 10)
	}
	require.Equal(t, 2, strings.Count(log.String(), "\n"), log)
	line := `msg="a node tells of more than Options.Limit allows: a part is left out" peer=a@h limit=1000`
	require.Equal(t, 1, strings.Count(log.String(), line), log)
	err := l.Err("know what is on", full)
	require.EqualError(t, err, "know what is on a@h: full\nknow what is on b@h: full")
	require.ErrorIs(t, err, full)
	var one *nodes.Error
	require.ErrorAs(t, err, &one)
	require.Equal(t, "a@h", one.Peer)
	leftOut, lacking := l.Count()
	require.Equal(t, int64(12), leftOut)
	require.Equal(t, 3, lacking)
	l.Whole(2)
	require.ErrorContains(t, l.Err("know", full), "b@h", "another one of it")
	l.Whole(3)
	l.Whole(4)
	require.EqualError(t, l.Err("know what is on", full), "know what is on a@h: full")
	l.Forget(1)
	require.NoError(t, l.Err("know", full))
	require.False(t, l.Any())
	leftOut, _ = l.Count()
	require.Equal(t, int64(12), leftOut)
}

// Somebody is asked again when what is left out may fit, at first at once, then after pauses that
// grow as long as it does not fit after all.
func TestLimitAsks(t *testing.T) {
	l, _ := newLimit()
	now := time.Unix(1_000_000, 0)
	require.False(t, l.Fits(1, 1000))
	require.False(t, l.Due(1, now))
	l.LeaveOut(1, "a@h", 5, 500)
	require.False(t, l.Fits(1, 499))
	require.True(t, l.Fits(1, 500))
	l.Gone(1, 100)
	require.True(t, l.Fits(1, 400))
	l.Gone(1, 1000)
	require.True(t, l.Fits(1, 0))
	l.Left(1, 300)
	require.False(t, l.Fits(1, 299))
	require.False(t, l.Asked(1))
	for _, pause := range []time.Duration{0, askPause, 2 * askPause, 4 * askPause, 8 * askPause, mostAskPause, mostAskPause} {
		if pause > 0 {
			require.False(t, l.Due(1, now.Add(pause-1)), pause)
		}
		now = now.Add(pause)
		require.True(t, l.Due(1, now), pause)
		require.True(t, l.Asked(1))
		require.True(t, l.Fits(1, 0), "nothing is known any more of how much it is")
		l.LeaveOut(1, "a@h", 1, 100)
		require.False(t, l.Asked(1))
	}
	l.Whole(1)
	require.False(t, l.Due(1, now.Add(time.Hour)))
	l.LeaveOut(1, "a@h", 1, 100)
	require.False(t, l.Due(1, now), "it was asked a moment ago")
	now = now.Add(time.Hour)
	require.True(t, l.Due(1, now))
	require.False(t, l.Due(1, now.Add(askPause-1)))
	require.True(t, l.Due(1, now.Add(askPause)), "after a calm time it is as at first")
	l.Inherit(2, "b@h")
	require.True(t, l.Fits(2, 0))
	require.True(t, l.Due(2, now))
}
