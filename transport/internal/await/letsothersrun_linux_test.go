package await

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A goroutine that has not slept for a while lets others run, and then not again for as long.
func TestLetsOthersRun(t *testing.T) {
	processors(t, 1)
	var other atomic.Bool
	go other.Store(true)
	w := side{began: time.Now()}
	for range 1000 { // the scheduler may choose this one a few times
		if w.ran = w.began.Add(-runsFor); other.Load() {
			break
		}
		w.letOthersRun()
	}
	require.True(t, other.Load())
	w.began = w.ran.Add(runsFor - 1)
	before := w.ran
	w.letOthersRun()
	require.Equal(t, before, w.ran)
	w.slept, w.began = true, w.began.Add(time.Hour)
	w.letOthersRun()
	require.Equal(t, w.began, w.ran, "it has just slept")
}
