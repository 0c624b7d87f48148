package permission

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
