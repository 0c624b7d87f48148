package callsout

import (
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(envServe); ok {
		if err := serve(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leak.Run(m))
}
