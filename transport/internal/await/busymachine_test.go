package await

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPollsThatStandStill(t *testing.T) {
	m := busyMachine{after: standsStill}
	now := time.Now()
	require.False(t, m.isBusy(now))
	m.tried(standsStill/2, now)
	require.False(t, m.isBusy(now), "the system takes as long by itself")

	for want := busyAtFirst; want <= busyAtMost; want *= 2 {
		m.tried(standsStill, now)
		require.True(t, m.isBusy(now.Add(want-1)))
		m.tried(standsStill, now.Add(want/2)) // a poll that had begun before
		require.False(t, m.isBusy(now.Add(want)))
		now = now.Add(want + want/2) // the next poll stands still soon
	}
	m.tried(standsStill, now)
	require.False(t, m.isBusy(now.Add(busyAtMost)), "it polls from time to time")

	now = now.Add(3 * busyAtMost) // polls have been undisturbed for long
	m.tried(standsStill, now)
	require.False(t, m.isBusy(now.Add(busyAtFirst)))
}
