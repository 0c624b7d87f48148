package project

import (
	"fmt"
	"os"
	"path/filepath"
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
	const page = "../../../docs/how-to/elixir-project.md"
	var own []string // of this test: there is a port mapper at the usual port, too
	for _, v := range d.environ {
		if strings.HasPrefix(v, "ERL_EPMD_") {
			own = append(own, v)
		}
	}
	systemd.Each(t, map[string]systemd.File{
		systemd.EnvironmentPath:               systemd.Environment(strings.Join(own, " ")),
		"/root/.erlang.cookie":                {Text: otp.DefaultCookie + "\n", Mode: 0o400},
		"/etc/systemd/system/pricing.service": {Text: systemd.Printed(t, page, "pricing.service"), Mode: 0o644},
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
		m.Types(page, "enable --now pricing", "")
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
