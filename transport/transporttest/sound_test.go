//go:build unix

package transporttest

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSound shows that good plug-ins are never accused: all of them are tried at once, several times each, on a machine that is
// kept busy besides. TRANSPORTTEST_ROUNDS is how many times, for a longer run than the usual one.
func TestSound(t *testing.T) {
	if testing.Short() {
		t.Skip("the machine is kept busy for a while")
	}
	rounds := 2
	if raceEnabled {
		rounds = 1
	}
	if n, err := strconv.Atoi(os.Getenv("TRANSPORTTEST_ROUNDS")); err == nil {
		rounds = n
	}
	var stop atomic.Bool
	var burners, suites sync.WaitGroup
	for range 3 {
		burners.Go(func() {
			for work := uint64(1); !stop.Load(); work *= work + 1 {
			}
		})
	}
	for _, g := range goods() {
		for range rounds {
			suites.Go(func() {
				if err := Check(g.factory(t)); err != nil {
					t.Errorf("%s: %v", g.name, err)
				}
			})
		}
	}
	suites.Wait()
	stop.Store(true)
	burners.Wait()
	require.False(t, t.Failed())
}
