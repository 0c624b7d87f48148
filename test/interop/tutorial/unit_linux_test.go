package tutorial

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// built builds a version of the program of the last step.
func built(t *testing.T, version string) (path string) {
	const source = "../../../examples/tutorial/10-release/go/pricing"
	text, err := os.ReadFile(source + "/main.go")
	require.NoError(t, err)
	require.Contains(t, string(text), "version = 1")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte(strings.Replace(string(text), "version = 1", "version = "+version, 1)), 0o644))
	at, err := filepath.Abs(source + "/main.go")
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{at: dir + "/main.go"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/overlay.json", overlay, 0o644))
	cmd := exec.Command("go", "build", "-overlay", dir+"/overlay.json", "-o", dir+"/pricing",
		"github.com/cnode-go/cnode/examples/tutorial/10-release/go/pricing")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir + "/pricing"
}

// The unit of the last page, under real versions of systemd: a probe answers, and a reload leaves
// the node, its process and the connection of a peer.
func TestUnit(t *testing.T) {
	const page = "../../../docs/tutorial/10-release.md"
	mapper, probe := otp.Epmd(t), port.Vacant(t)
	unit := strings.Replace(systemd.Printed(t, page, "pricing.service"), "127.0.0.1:8080", probe, 1)
	require.Contains(t, unit, probe)
	systemd.Each(t, map[string]systemd.File{
		systemd.EnvironmentPath:               systemd.Environment(fmt.Sprintf("ERL_EPMD_PORT=%d", mapper)),
		"/root/.erlang.cookie":                {Text: otp.DefaultCookie + "\n", Mode: 0o400},
		"/etc/systemd/system/pricing.service": {Text: unit, Mode: 0o644},
		"/opt/shop/pricing":                   {From: built(t, "1"), Mode: 0o755},
		"/opt/shop/next":                      {From: built(t, "2"), Mode: 0o755},
	}, func(t *testing.T, m *systemd.Machine) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // each question goes to who listens then
		ready := func() string {
			answer, err := client.Get("http://" + probe + "/health/ready")
			if err != nil {
				return err.Error()
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			return strings.TrimSpace(string(text))
		}
		m.Types(page, "enable --now pricing", "systemctl reload")
		// systemd hears of the node before the program listens for probes
		require.Eventually(t, func() bool { return ready() == "running" }, expect.Limit, 10*time.Millisecond)

		ctx := expect.Context(t)
		n, err := nodes.New(nodes.Config{Name: "shop@127.0.0.1", Cookie: otp.DefaultCookie,
			Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", mapper)}}})
		require.NoError(t, err)
		defer n.Close()
		require.NoError(t, n.Start(ctx))
		process := func() ei.Pid {
			pid, err := nodes.CallNameAs[ei.Pid](ctx, n, "pricing@127.0.0.1", "pricing", ei.Atom("pid"))
			require.NoError(t, err)
			return pid
		}
		before := process()
		conn := n.Conn("pricing@127.0.0.1")

		m.Succeed("mv", "/opt/shop/next", "/opt/shop/pricing")
		m.Succeed("systemctl", "reload", "pricing.service")
		require.Eventually(t, func() bool {
			journal, _ := m.Run("journalctl", "--no-pager", "--unit=pricing.service", "--output=cat")
			return strings.Contains(journal, "ready pricing@127.0.0.1 version 2")
		}, expect.Limit, 50*time.Millisecond, "the new program is the node")
		require.Equal(t, before, process())
		require.Same(t, conn, n.Conn("pricing@127.0.0.1"), "the peer has seen a nodedown")
		require.Eventually(t, func() bool { return ready() == "running" }, expect.Limit, 10*time.Millisecond)
		m.Succeed("systemctl", "stop", "pricing.service")
	})
}
