package transporttest

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind, whatever plug-in it has
// tried. Suites mostly wait, so that more of them run at once than there are processors, unless
// go test is told otherwise.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	os.Exit(leak.Run(m))
}
