//go:build !unix

package config

import "io/fs"

// checkPrivate has nothing to check: on these systems a user's temporary folder is private.
func checkPrivate(string, fs.FileInfo) error { return nil }

// Foreign cannot tell the owner on these systems.
func Foreign(fs.FileInfo) bool { return false }
