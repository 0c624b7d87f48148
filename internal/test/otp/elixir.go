package otp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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

// Command runs a script on a node that has its port mapper at port, with more in its environment.
// The script is an argument: files are not in the root file system that Elixir may be in.
func (e Elixir) Command(ctx context.Context, t testing.TB, port int, name, script string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.Program, "--name", name, "--cookie", DefaultCookie, "-e", script)
	cmd.Dir, cmd.WaitDelay = t.TempDir(), 10*time.Second
	cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// Prints is what a script prints that comes to its end.
func (e Elixir) Prints(t testing.TB, port int, name, script string, env ...string) string {
	t.Helper()
	cmd := e.Command(t.Context(), t, port, name, script, env...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, &complaints)
	}
	return string(out)
}
