package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
)

// The packaged unit of a front: systemd hears that it is ready, a reload is an upgrade that clients
// do not notice, and the new process is the one that is watched and stopped.
func TestFrontUnit(t *testing.T) {
	t.Parallel() // it waits for other processes
	text, err := os.ReadFile("../../packaging/systemd/cnode-front.service")
	require.NoError(t, err)
	addr := vacant.Vacant(t)
	at := strings.Replace(string(text), "0.0.0.0:4000", addr, 1)
	require.NotEqual(t, string(text), at)
	require.Equal(t, "/bin/kill -USR2 $MAINPID", setting(t, at, "ExecReload"))
	files := map[string]systemd.File{
		"/etc/passwd":         {Text: "root:x:0:0::/root:/bin/sh\ncnode:x:987:987::/home/cnode:/bin/sh\n", Mode: 0o644},
		"/etc/group":          {Text: "root:x:0:\ncnode:x:987:\n", Mode: 0o644},
		"/usr/bin/cnode-demo": {From: program, Mode: 0o755},
		"/etc/systemd/system/cnode-front.service": {Text: at, Mode: 0o644},
	}
	systemd.Each(t, files, func(t *testing.T, m *systemd.Machine) {
		const unit = "cnode-front.service"
		property := func(name string) string {
			return strings.TrimSpace(m.Succeed("systemctl", "show", "--value", "-p", name, unit))
		}
		m.Succeed("systemctl", "start", unit)
		client, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer client.Close()
		for range 2 {
			before := property("MainPID")
			m.Succeed("systemctl", "kill", "--kill-whom=main", "-s", "SIGUSR2", unit) // the machine has no kill(1) for a reload
			require.Eventually(t, func() bool { now := property("MainPID"); return now != before && now != "0" }, waitLimit, 20*time.Millisecond)
			require.Eventually(t, func() bool { return property("ActiveState") == "active" }, waitLimit, 20*time.Millisecond)
			require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Second))) // longer than the old process is there
			_, err = client.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the client waits for a worker")
		}
		m.Succeed("systemctl", "stop", unit)
		require.Equal(t, "success", property("Result"))
		require.NoError(t, client.SetReadDeadline(time.Now().Add(waitLimit)))
		_, err = client.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}
