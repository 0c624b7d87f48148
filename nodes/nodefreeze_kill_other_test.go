//go:build !linux

package nodes

func runKillSide() int { return 1 }

func runFrontSide() int { return 1 }

const frontVariable = "CNODE_TEST_FRONT"
