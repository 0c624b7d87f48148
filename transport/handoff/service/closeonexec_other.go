//go:build !unix

package service

// closeOnExec is for systems where a process inherits descriptors by their numbers.
func closeOnExec(int) {}
