//go:build unix

package handoff

import (
	"flag"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

const testParallel = "16"

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	if side := os.Getenv(sideVariable); side != "" {
		os.Exit(runSide(side))
	}
	// parallel tests mostly wait; the command line overrides this
	_ = flag.Set("test.parallel", testParallel)
	os.Exit(leak.Run(m))
}
