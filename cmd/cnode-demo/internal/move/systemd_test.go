package move

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/test/sockdir"
	"github.com/stretchr/testify/require"
)

// A startable is a node that has been handed over, and is ready to start.
type startable struct{ err error }

func (s startable) Start(context.Context) error { return s.err }
func (s startable) Discard() error              { return nil }

// A service manager that sees its main process end must know the next one by then: it is told
// before the old process learns that it may end.
func TestManagerKnowsTheHeir(t *testing.T) {
	for _, failed := range []error{nil, errors.New("not all of it")} {
		at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
		manager, err := net.ListenUnixgram("unixgram", at)
		require.NoError(t, err)
		defer manager.Close()
		t.Setenv("NOTIFY_SOCKET", at.Name)
		var errOut strings.Builder
		h := &heir{staged: startable{failed}, errOut: &errOut}
		require.ErrorIs(t, h.Start(t.Context()), failed)
		require.NoError(t, manager.SetReadDeadline(time.Now().Add(time.Minute)))
		said := make([]byte, 100)
		n, err := manager.Read(said)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("READY=1\nMAINPID=%d\n", os.Getpid()), string(said[:n]))
		require.Empty(t, errOut.String())
	}
}

// If the manager cannot be told, that is reported: it would otherwise end the service without a
// visible reason.
func TestManagerThatIsNotThere(t *testing.T) {
	at := filepath.Join(sockdir.New(t), "notify")
	t.Setenv("NOTIFY_SOCKET", at)
	var errOut strings.Builder
	NotifyManager(&errOut)
	require.Contains(t, errOut.String(), "(NOTIFY_SOCKET): dial unixgram "+at)
}

// A manager that watches the process hears of it, until it ends.
func TestWatchdog(t *testing.T) {
	at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
	manager, err := net.ListenUnixgram("unixgram", at)
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv(notifyVariable, at.Name)
	t.Setenv(watchdogTime, "2000")
	t.Setenv(watchdogProcess, "")
	stop := Watched()
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
