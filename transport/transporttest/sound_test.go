//go:build unix

package transporttest

import (
	"os"
	"strconv"
	"sync"
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
	if n, err := strconv.Atoi(os.Getenv("TRANSPORTTEST_ROUNDS")); err == nil {
		rounds = n
	}
	stop := make(chan struct{})
	var burners, suites sync.WaitGroup
	for range 3 {
		burners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
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
	close(stop)
	burners.Wait()
	require.False(t, t.Failed())
}
