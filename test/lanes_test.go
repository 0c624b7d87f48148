package test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
)

// Each package with tests is in one lane of run.sh, or in a module of contrib or examples that
// stands alone, which .ci/run tests for itself. The lanes are all in .ci/run.
func TestLanes(t *testing.T) {
	out, err := exec.Command(need.Program(t, "bash"), "run.sh", "lanes").Output()
	require.NoError(t, err)
	lanes := map[string]string{}
	for line := range strings.Lines(string(out)) {
		lane, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, line)
		folder := strings.TrimPrefix(strings.TrimPrefix(name, "github.com/cnode-go/cnode"), "/")
		require.NotContains(t, lanes, folder, "twice")
		lanes[folder] = lane
	}
	require.Equal(t, "short", lanes["nodes"])
	require.Equal(t, "elixir", lanes["test/interop/project"])

	alone := func(folder string) bool { // has the nearest module a go.work of its own?
		for ; folder != "."; folder = path.Dir(folder) {
			if _, err := os.Stat(filepath.Join("..", folder, "go.mod")); err == nil {
				_, err := os.Stat(filepath.Join("..", folder, "go.work"))
				return err == nil && (strings.HasPrefix(folder, "contrib/") || strings.HasPrefix(folder, "examples/"))
			}
		}
		return false
	}
	require.NoError(t, filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		folder := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(file), ".."+string(filepath.Separator)))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(file, "_test.go") && lanes[folder] == "" && !alone(folder):
			t.Errorf("%s: no lane of test/run.sh has this package", folder)
		}
		return nil
	}))
	ci, err := os.ReadFile("../.ci/run")
	require.NoError(t, err)
	for _, line := range []string{"\ntest/run.sh\n", "\ntest/run.sh elixir\n", "test/run.sh other\n"} {
		require.Contains(t, string(ci), line)
	}
}
