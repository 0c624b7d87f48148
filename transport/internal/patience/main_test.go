package patience

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
