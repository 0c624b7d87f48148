package otp

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
)

// An Elixir is one installed Elixir.
type Elixir struct {
	Version string // major and minor: 1.18
	Program string // path of elixir
}

// Elixirs runs f as a subtest with every Elixir that test/prepare.sh has: the oldest and the newest
// of Debian's, and one in between. Without one the test is skipped, or fails where
// CNODE_TEST_REQUIRE is set. With -short it is the newest only.
func Elixirs(t *testing.T, f func(t *testing.T, e Elixir)) {
	t.Helper()
	list := os.Getenv(envElixir)
	if list == "" {
		need.Missing(t, "no Elixir: "+envElixir+" is not set (test/run.sh brings it)")
	}
	entries := strings.Fields(list)
	if testing.Short() {
		entries = entries[len(entries)-1:]
	}
	for _, entry := range entries {
		version, program, ok := strings.Cut(entry, "=")
		if _, err := exec.LookPath(program); !ok || err != nil {
			t.Fatalf("%s: %q is not of the form 1.18=/path/of/elixir: %v", envElixir, entry, err)
		}
		t.Run("elixir"+version, func(t *testing.T) { f(t, Elixir{version, program}) })
	}
}
