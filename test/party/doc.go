// Package party runs the test program once more, as one side of something between processes that may be killed or stopped in the middle of
// it.
//
// The test calls Start, and says and hears things. The program's TestMain finds in its environment that it is a side, makes a Side, and
// does the same at the other end. A matrix of all that can befall two sides is a list of Cells; Cell.Play sees one of them through.
package party
