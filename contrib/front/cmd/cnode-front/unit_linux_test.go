package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
)

// The units of a front, that of the package and that of the page: systemd hears that it is ready, a
// reload is an upgrade that clients do not notice, and the new process is the one that is watched
// and stopped.
func TestFrontUnit(t *testing.T) {
	program := filepath.Join(t.TempDir(), "cnode-front")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the machine's C library is its own
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	packaged, err := os.ReadFile("../../../../packaging/systemd/cnode-front.service")
	require.NoError(t, err)
	for where, text := range map[string]string{
		"package": string(packaged),
		"page":    systemd.Printed(t, "../../../../docs/how-to/sessions-that-outlive-a-beam.md", "cnode-front.service"),
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel() // it waits for other processes
			addr := vacant.Vacant(t)
			at := strings.Replace(text, "0.0.0.0:4000", addr, 1)
			require.NotEqual(t, text, at)
			path, _, _ := strings.Cut(setting(t, text, "ExecStart"), " ")
			systemd.Each(t, map[string]systemd.File{
				path: {From: program, Mode: 0o755},
				"/etc/systemd/system/cnode-front.service": {Text: at, Mode: 0o644},
			}, func(t *testing.T, m *systemd.Machine) {
				m.Succeed("useradd", "--system", "--create-home", setting(t, text, "User"))
				keepsClient(t, m, addr)
			})
		})
	}
}

// setting is the value of a key in a unit.
func setting(t *testing.T, unit, key string) string {
	t.Helper()
	found := regexp.MustCompile("(?m)^"+key+"=(.*)$").FindAllStringSubmatch(unit, -1)
	require.Len(t, found, 1, key)
	return found[0][1]
}

func keepsClient(t *testing.T, m *systemd.Machine, addr string) {
	const unit = "cnode-front.service"
	property := func(name string) string {
		return strings.TrimSpace(m.Succeed("systemctl", "show", "--value", "-p", name, unit))
	}
	m.Succeed("systemctl", "enable", "--now", unit)
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer client.Close()
	for range 2 {
		before := property("MainPID")
		m.Succeed("systemctl", "reload", unit)
		require.Eventually(t, func() bool { now := property("MainPID"); return now != before && now != "0" }, expect.Limit, 20*time.Millisecond)
		require.Eventually(t, func() bool { return property("ActiveState") == "active" }, expect.Limit, 20*time.Millisecond)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Second))) // longer than the old process is there
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the client waits for a worker")
	}
	m.Succeed("systemctl", "stop", unit)
	require.Equal(t, "success", property("Result"))
	require.NoError(t, client.SetReadDeadline(time.Now().Add(expect.Limit)))
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}
