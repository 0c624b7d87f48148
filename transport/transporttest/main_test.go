package transporttest

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind, whatever plug-in it has
// tried.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
