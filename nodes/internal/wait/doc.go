// Package wait has the means by which a node's goroutines wait for each other: a bell that makes
// all of them look again, a gate before what stands still during a hand-off, a tally of what runs,
// and turns between which something can pause. Each is a few lines, and none knows what a node is.
package wait
