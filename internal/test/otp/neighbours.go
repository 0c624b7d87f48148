package otp

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
)

// Neighbours returns the bash that runs inside the root file system of the
// programs that a node of this module is used next to: Elixir, RabbitMQ, ejabberd.
// Without it the test is skipped, or fails where CNODE_TEST_REQUIRE is set.
func Neighbours(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(envNeighbours)
	if dir == "" {
		need.Missing(t, "no Elixir, RabbitMQ, ejabberd: "+envNeighbours+" is not set (test/run.sh brings them)")
	}
	bash := filepath.Join(dir, "bash")
	if _, err := os.Stat(bash); err != nil {
		t.Fatal(err)
	}
	return bash
}
