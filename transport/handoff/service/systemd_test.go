package service

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// under makes this process one that a service manager has started; "": none has.
func under(t *testing.T, manager string) {
	t.Helper()
	t.Setenv(takenVariable, "")
	t.Setenv(notifyVariable, manager)
}

// A manager that watches the process hears of it, until it ends.
func TestWatchdog(t *testing.T) {
	at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
	manager := expect.Open(net.ListenUnixgram("unixgram", at)).In(t)
	under(t, at.Name)
	t.Setenv(watchdogTime, "2000")
	t.Setenv(watchdogProcess, "")
	stop := NotifyWatchdog()
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(time.Minute)))
	said := make([]byte, 100)
	for range 3 {
		n := expect.NoError(manager.Read(said)).In(t)
		require.Equal(t, "WATCHDOG=1\n", string(said[:n]))
	}
	stop()
}

// Only the process that the manager means is watched, at half the interval.
func TestWatchdogInterval(t *testing.T) {
	under(t, "")
	for _, tt := range []struct {
		limit, process string
		want           time.Duration
	}{
		{"30000000", "", 15 * time.Second},
		{"30000000", strconv.Itoa(os.Getpid()), 15 * time.Second},
		{"30000000", "1", 0},
		{"", "", 0},
		{"0", "", 0},
		{"-1", "", 0},
		{"soon", "", 0},
		{"9223372036854775807", "", 0},
		{"1", "", time.Millisecond},
	} {
		t.Setenv(watchdogTime, tt.limit)
		t.Setenv(watchdogProcess, tt.process)
		require.Equal(t, tt.want, watchdogInterval(), "%+v", tt)
	}
}

// What this process starts does not see where the manager listens, and is not watched, whatever
// environment it is given; a successor sees it. This process still speaks to the manager.
func TestManagerIsNotInherited(t *testing.T) {
	at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
	socket := expect.Open(net.ListenUnixgram("unixgram", at)).In(t)
	under(t, at.Name)
	t.Setenv(watchdogTime, "2000")
	t.Setenv(watchdogProcess, "")
	require.Nil(t, expect.NoError(Coming()).In(t))
	require.Equal(t, at.Name, manager())
	require.Equal(t, time.Millisecond, watchdogInterval())

	_, there := os.LookupEnv(notifyVariable)
	require.False(t, there)
	require.Equal(t, strconv.Itoa(os.Getpid()), os.Getenv(watchdogProcess))
	env := succeeding(os.Environ())
	require.Contains(t, env, notifyVariable+"="+at.Name)
	require.NotContains(t, strings.Join(env, "\n"), takenVariable)
	require.NotContains(t, strings.Join(env, "\n"), watchdogProcess)
	require.Equal(t, []string{notifyVariable + "=/other"}, succeeding([]string{notifyVariable + "=/other"}))

	// another process, with the environment of this one
	child := exec.Command(os.Args[0], "-test.run=^TestChildHasNoManager$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestChildHasNoManager")
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, Notify("STATUS=here\n"))
	said := make([]byte, 100)
	n := expect.NoError(socket.Read(said)).In(t)
	require.Equal(t, "STATUS=here\n", string(said[:n]), "the first that the manager hears")
}

const childVariable = "CNODE_TEST_CHILD"

// TestChildHasNoManager is for TestManagerIsNotInherited.
func TestChildHasNoManager(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("it is a child of another test's")
	}
	require.Empty(t, manager())
	require.NoError(t, NotifyReady())
	require.Zero(t, watchdogInterval())
}
