//go:build !race

package handoff

// raceEnabled tells whether the race detector is there, which allocates.
const raceEnabled = false
