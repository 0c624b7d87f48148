package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Version gives the module's version, as the go command has stamped it into the program, and Go's.
func Version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
	}
	return v + ", " + runtime.Version()
}
