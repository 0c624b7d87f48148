package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	vacant "github.com/cnode-go/cnode/internal/test/port"
)

// A service that was started by a link moves to the program that the link leads to now.
func TestBoardMovesToWhereTheLinkLeads(t *testing.T) {
	needsTCP(t, "the example says what it has")
	code, err := os.ReadFile(program(t, "examples/board"))
	require.NoError(t, err)
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	install := func(version string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, version), code, 0o700))
		require.NoError(t, os.Symlink(version, filepath.Join(dir, "next")))
		require.NoError(t, os.Rename(filepath.Join(dir, "next"), link))
	}
	install("board-1")
	cmd := exec.Command(link)
	cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", vacant.Free(t)))
	p := otp.Serve(t, cmd)
	install("board-2")
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the first process does not end")
	}
	serving := regexp.MustCompile(`serving process=(\d+)`)
	var told [][]string
	require.Eventually(t, func() bool {
		told = serving.FindAllStringSubmatch(p.Log(), -1)
		return len(told) == 2
	}, 30*time.Second, time.Millisecond)
	file, err := os.Readlink("/proc/" + told[1][1] + "/exe")
	require.NoError(t, err)
	require.Equal(t, "board-2", filepath.Base(file))
	next, err := strconv.Atoi(told[1][1])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(next, syscall.SIGTERM))
}
