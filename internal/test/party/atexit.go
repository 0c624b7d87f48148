package party

import (
	"os"
	"strings"
)

// AtExit is the environment variable that lets a program exit at once: under the race detector it
// otherwise waits for a second, in case something is reported late.
func AtExit() string {
	return strings.TrimSpace("GORACE=" + os.Getenv("GORACE") + " halt_on_error=1 atexit_sleep_ms=0")
}
