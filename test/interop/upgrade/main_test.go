//go:build unix

package upgrade

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// program is cnode-demo, built for these tests.
var program string

func TestMain(m *testing.M) {
	if side := os.Getenv(sideVariable); side != "" {
		os.Exit(runSide(side))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "upgrade-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cnode-demo.exe")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/cnode-go/cnode/cmd/cnode-demo").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return leak.Run(m)
}
