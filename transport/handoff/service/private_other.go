//go:build !unix

package service

// checkPrivate has nothing to check: on these systems a user's temporary folder is private.
func checkPrivate(string) error { return nil }
