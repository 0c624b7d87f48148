package transporttest

import (
	"flag"
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind, whatever plug-in it has
// tried. Suites mostly wait, so that more of them run at once than there are processors, unless
// go test is told otherwise.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "16")
	os.Exit(leak.Run(m))
}
