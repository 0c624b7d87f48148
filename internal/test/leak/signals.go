//go:build !js

package leak

import (
	"os"
	"os/signal"
	"syscall"
)

// heedSignals lets programs that tests start die of what this process ignores: nohup(1) has a
// hangup ignored, a shell an interrupt in what it runs in the background, and what is ignored is
// inherited.
func heedSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s) // nobody reads it: ignored as before, here
		}
	}
}
