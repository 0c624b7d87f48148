package project

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/systemd"
)

// The unit as it is printed, under real versions of systemd: a child sees it come, go, come back,
// and reloads it.
func TestUnit(t *testing.T) {
	found := otp.Releases(t)[0]
	d := newDesk(t)
	ebin := compiled(t, d, found)
	for version := range 2 {
		goProgram(t, fmt.Sprintf("%s/pricing%d", d.dir, version+1), version+1)
	}
	page, err := os.ReadFile("../../../docs/how-to/elixir-project.md")
	require.NoError(t, err)
	unit := regexp.MustCompile("(?ms)^```ini\n(.*?)^```$").FindStringSubmatch(string(page))
	require.NotNil(t, unit)
	environment := "Environment=CNODE_COOKIE=" + otp.DefaultCookie + "\n"
	for _, v := range d.environ {
		if strings.HasPrefix(v, "ERL_EPMD_") {
			environment += "Environment=" + v + "\n"
		}
	}
	environment += "Environment=XDG_RUNTIME_DIR=/run/pricing\nRuntimeDirectory=pricing\nRuntimeDirectoryMode=0700\n"
	// the machine has no program kill
	text := replaced(t, unit[1], "/bin/kill -HUP $MAINPID", "/usr/bin/systemctl kill --kill-whom=main --signal=HUP pricing.service")
	systemd.Each(t, map[string]systemd.File{
		"/etc/systemd/system/pricing.service": {Text: replaced(t, text, "[Service]\n", "[Service]\n"+environment), Mode: 0o644},
		"/opt/shop/pricing":                   {From: d.dir + "/pricing1", Mode: 0o755},
		"/opt/shop/next":                      {From: d.dir + "/pricing2", Mode: 0o755},
	}, func(t *testing.T, m *systemd.Machine) {
		d := *d
		d.t = t
		name := filepath.Base(t.Name())
		d.file(name, "#!/bin/sh\nexec "+strings.Join(m.Enter(), " ")+" systemctl \"$@\"\n")
		require.NoError(t, os.Chmod(filepath.Join(d.dir, name), 0o755))
		s := children(t, &d, found, ebin)
		options := fmt.Sprintf(`#{unit => "pricing.service", systemctl => ["%s/%s"], ready_timeout => 100}`, d.dir, name)
		require.Contains(t, s.child(options), "{ok,")
		s.says("the unit is inactive (dead), its result success", 1)
		m.Succeed("systemctl", "start", "pricing.service")
		s.says(goNode+" is connected", 1)
		require.Positive(t, s.info().OSPid)
		m.Succeed("systemctl", "kill", "--signal=KILL", "pricing.service")
		s.says(goNode+" is not connected", 2)
		s.says(goNode+" is connected", 2)
		require.Equal(t, 1, s.version())
		m.Succeed("mv", "/opt/shop/next", "/opt/shop/pricing")
		require.Equal(t, ei.Atom("ok"), ask[ei.Atom](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)))
		require.Eventually(t, func() bool { return s.version() == 2 }, expect.Limit, 10*time.Millisecond)
		require.Equal(t, 2, strings.Count(s.log.String(), goNode+" is not connected"), "a node has seen the reload")
		s.kill()
		require.Contains(t, m.Succeed("systemctl", "is-active", "pricing.service"), "active")
		m.Succeed("systemctl", "stop", "pricing.service")
	})
}
