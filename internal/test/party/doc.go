// Package party runs the test program once more, as one side of an exchange between processes that
// may be killed or stopped in the middle of it.
//
// The test calls Start, and talks to the Party with Say and Hear. The program's TestMain sees in
// its environment that it is a side, makes a Side, and talks to the test at the other end. A matrix
// of all that can happen to two sides is a list of Cells; Cell.Play plays one of them.
package party
