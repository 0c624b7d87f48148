package interop

import (
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(envErgo); ok {
		if err := serveErgo(args); err != nil {
			fmt.Fprintln(os.Stderr, "ergo:", err)
			os.Exit(1)
		}
		return
	}
	code := leak.Run(m)
	removeBuilt()
	os.Exit(code)
}
