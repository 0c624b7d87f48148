package console

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// Nothing of a console may outlive its node.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
