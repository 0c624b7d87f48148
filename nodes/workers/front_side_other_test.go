//go:build !linux

package workers

// runFrontSide is the main function of a front of a test for Linux.
func runFrontSide() int { return 1 }

const frontVariable = "CNODE_TEST_FRONT"
