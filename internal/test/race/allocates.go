// Package race tells a test whether it runs with the race detector, which allocates, and is slow.
package race

import "testing"

// Allocates skips a test that counts allocations if the race detector is there, which makes some of
// its own. test/run.sh runs these tests without it.
func Allocates(t testing.TB) {
	t.Helper()
	if Enabled {
		t.Skip("the race detector allocates")
	}
}
