package upgrade

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/sockdir"
)

// A manager that watches the process hears of it, until it ends.
func TestWatchdog(t *testing.T) {
	at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
	manager, err := net.ListenUnixgram("unixgram", at)
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv(notifyVariable, at.Name)
	t.Setenv(watchdogTime, "2000")
	t.Setenv(watchdogProcess, "")
	stop := NotifyWatchdog()
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(time.Minute)))
	said := make([]byte, 100)
	for range 3 {
		n, err := manager.Read(said)
		require.NoError(t, err)
		require.Equal(t, "WATCHDOG=1\n", string(said[:n]))
	}
	stop()
}

// Only the process that the manager means is watched, at half the interval.
func TestWatchdogInterval(t *testing.T) {
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
