//go:build !unix

package main

import "io/fs"

// checkPrivate has nothing to look at: here a user's temporary folder is the user's alone.
func checkPrivate(string, fs.FileInfo, string) error { return nil }

// foreign does not know users either.
func foreign(fs.FileInfo) bool { return false }
