package epmd

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing in this package may outlive the call that closes it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
