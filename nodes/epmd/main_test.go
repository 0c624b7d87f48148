package epmd

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// Nothing in this package may outlive the call that closes it.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
