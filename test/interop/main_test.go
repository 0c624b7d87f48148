package interop

import (
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(envErgo); ok {
		if err := serveErgo(args); err != nil {
			fmt.Fprintln(os.Stderr, "ergo:", err)
			os.Exit(1)
		}
		return
	}
	dir, err := setUsual()
	code := 1
	if err == nil {
		code = leak.Run(m)
	} else {
		fmt.Fprintf(os.Stderr, "%s: %v\n", envTLS, err)
	}
	os.RemoveAll(dir)
	removeBuilt()
	os.Exit(code)
}
