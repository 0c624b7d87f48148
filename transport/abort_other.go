//go:build !unix

package transport

// resetOnClose does nothing: no carrier of this system has a descriptor that the SDK waits on.
func resetOnClose(carrier) bool { return false }
