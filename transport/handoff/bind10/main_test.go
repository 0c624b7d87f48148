//go:build unix

package bind10

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/party"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	if os.Getenv(takesSessions) != "" {
		if err := takeSessions(party.NewSide()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	_ = flag.Set("test.parallel", "16") // they mostly wait; the command line overrides this
	os.Exit(leak.Run(m))
}
