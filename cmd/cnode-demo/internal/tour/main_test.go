package tour

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// The tour starts its own program to move a node to: here that is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == tourHeir {
		heir := Heir()
		heir.SetArgs(os.Args[2:])
		if heir.Execute() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leak.Run(m))
}
