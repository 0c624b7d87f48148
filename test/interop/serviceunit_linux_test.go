package interop

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
)

// The unit for a program of one's own, as the page prints it, with the lines that the page has for
// it: an Erlang node sees no nodedown at a reload or a restart, and the probe answers after each.
func TestServiceUnit(t *testing.T) {
	needsTCP(t, "the example says what it has")
	const page = "../../docs/operate/deploy.md"
	release := otp.Releases(t)[0]
	mapper, at, probe := release.Epmd(t), port.Vacant(t), port.Vacant(t)
	unit := strings.NewReplacer("127.0.0.1:4370", at, "127.0.0.1:8080", probe).Replace(systemd.Printed(t, page, "shop.service"))
	require.Contains(t, unit, at)
	require.Contains(t, unit, probe)
	systemd.Each(t, map[string]systemd.File{
		systemd.EnvironmentPath:            systemd.Environment(fmt.Sprintf("ERL_EPMD_PORT=%d", mapper)),
		"/root/.erlang.cookie":             {Text: "secret\n", Mode: 0o400},
		"/etc/systemd/system/shop.service": {Text: unit, Mode: 0o644},
		"/usr/local/bin/service":           {From: program(t, "examples/service"), Mode: 0o755},
	}, func(t *testing.T, m *systemd.Machine) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		isReady := func() bool {
			answer, err := client.Get("http://" + probe + "/ready")
			if err != nil {
				return false
			}
			return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
		}
		process := func() string {
			return strings.TrimSpace(m.Succeed("systemctl", "show", "--value", "-p", "MainPID", "shop"))
		}
		m.Types(page, "enable --now shop", "")
		require.Eventually(t, isReady, limit, 10*time.Millisecond)
		erl := release.Start(t, otp.Options{EpmdPort: mapper, Cookie: "secret"})
		require.Equal(t, "true", erl.Eval(t, `monitor_node('go@127.0.0.1', true)`))
		seen := []string{process()}
		for _, how := range []string{"reload", "restart", "reload"} {
			m.Succeed("systemctl", how, "shop")
			require.Eventually(t, func() bool { return process() != seen[len(seen)-1] }, limit, 10*time.Millisecond, how)
			require.NotContains(t, seen, process(), how)
			seen = append(seen, process())
			require.Equal(t, "done", erl.Eval(t, `rpc:call('go@127.0.0.1', service, work, [0])`), how)
			require.Equal(t, "none", erl.Eval(t, `receive M -> M after 0 -> none end`), how)
			require.Eventually(t, isReady, limit, 10*time.Millisecond, how)
		}
		m.Succeed("systemctl", "stop", "shop")
		require.Equal(t, "down", erl.Eval(t, `receive {nodedown, _} -> down after 20000 -> up end`))
		require.Equal(t, "success\n", m.Succeed("systemctl", "show", "--value", "-p", "Result", "shop"))
	})
}
