package beam

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed testdata/cnode_link_checks.erl
var linkChecks string

// A BEAM without a name calls a Go program, and is called by it, as a node would be; so does one
// with a name whose child has a link. When a BEAM gets a name, its child becomes a node.
func TestLink(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "linked")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/linked")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the root file systems have other C libraries
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	bytes, err := os.ReadFile(program)
	require.NoError(t, err)
	otp.Each(t, func(t *testing.T, r otp.Release) {
		ebin := build(t, r, "src")
		for name, does := range map[string]struct {
			function string
			args     []string
		}{
			"nameless": {"run", nil},
			"named":    {"run", []string{"-name", "link@127.0.0.1"}},
			"renamed":  {"renamed", nil},
		} {
			t.Run(name, func(t *testing.T) {
				own := filepath.Join(t.TempDir(), "linked") // an upgrade replaces it
				require.NoError(t, os.WriteFile(own, bytes, 0o755))
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, r.Erl, append([]string{"-noshell", "-pa", ebin, "-eval",
					fmt.Sprintf("cnode_link_checks:%s(%q), halt().", does.function, own)}, does.args...)...)
				cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", r.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1")
				cmd.WaitDelay = time.Second
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s", out)
				failed, ended := failures(string(out))
				require.Empty(t, failed, "%s", out)
				require.True(t, ended, "%s", out)
			})
		}
	})
}
