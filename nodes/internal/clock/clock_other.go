//go:build !unix

package clock

// Now is 0: on this system no connection comes from another process.
func Now() int64 { return 0 }
