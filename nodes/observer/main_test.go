package observer_test

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// Nothing of an observer may outlive its node.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
