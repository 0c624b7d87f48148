//go:build !unix

package upgrade

// closeOnExec is for systems where a process inherits descriptors by their numbers.
func closeOnExec(int) {}
