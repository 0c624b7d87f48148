package tlstransport

import (
	"flag"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		_ = flag.Set("test.parallel", "16") // parallel tests wait most of the time
	}
	os.Exit(leak.Run(m))
}
