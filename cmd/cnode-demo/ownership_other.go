//go:build !unix

package main

import "io/fs"

// checkPrivate has nothing to check: on these systems a user's temporary folder is private.
func checkPrivate(string, fs.FileInfo, string) error { return nil }

// foreign cannot tell the owner on these systems.
func foreign(fs.FileInfo) bool { return false }
