package transporttest

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind, whatever it was that it tried.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
