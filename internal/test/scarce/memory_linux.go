package scarce

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory makes a command that runs in a control group of its own, which has so many bytes of memory
// (cgroups(7), version 2 or 1). The test is skipped where none can be made: not everybody may, and
// it cannot be installed.
func Memory(t testing.TB, bytes int, program string, args ...string) *exec.Cmd {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(groups)) { // hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		root, file := "/sys/fs/cgroup", "memory.max"
		switch f[1] {
		case "":
		case "memory":
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for _, parent := range []string{filepath.Join(root, f[2]), root} {
			dir, err := os.MkdirTemp(parent, "cnode-test-")
			if err != nil {
				continue
			}
			t.Cleanup(func() { _ = os.Remove(dir) })
			if os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(bytes)), 0) == nil {
				return exec.Command("sh", append([]string{"-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir, program}, args...)...)
			}
		}
	}
	t.Skip("no control group for memory can be made here")
	return nil
}
