package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// version is the module's, as the go command has stamped it into the program, and that of Go.
func version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
	}
	return v + ", " + runtime.Version()
}
