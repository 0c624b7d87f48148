//go:build !unix

package workers

// testWorker is what this program does as the worker of a front; there are none here.
func testWorker() int { return 1 }
