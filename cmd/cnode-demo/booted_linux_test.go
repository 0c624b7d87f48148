package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// A booted is a machine with the units of docs/operate/upgrade.md.
type booted struct {
	*systemd.Machine
	t      *testing.T
	mapper string
}

const unit = "cnode.service"

// boots runs f with machines on which the documented units are installed, and listen at ports of
// the test's own.
func boots(t *testing.T, f func(b *booted)) {
	need.Long(t, time.Minute) // by day the machines of nodes/upgrade will do
	w := newHome(t, 0)
	files := map[string]systemd.File{
		systemd.EnvironmentPath:     systemd.Environment("ERL_EPMD_PORT=" + strconv.Itoa(w.port)),
		"/root/.erlang.cookie":      {Text: testCookie + "\n", Mode: 0o400},
		"/usr/local/bin/cnode-demo": {From: program, Mode: 0o755},
		"/etc/systemd/system/cnode.socket.d/test.conf": {
			Text: "[Socket]\nListenStream=\nListenStream=" + vacant.Vacant(t) + "\n", Mode: 0o644,
		},
	}
	for name, text := range units(t) {
		files["/etc/systemd/system/"+name] = systemd.File{Text: text, Mode: 0o644}
	}
	systemd.Each(t, files, func(t *testing.T, m *systemd.Machine) {
		m.Types(upgradePage, "enable --now cnode.socket", "systemctl")
		f(&booted{Machine: m, t: t, mapper: strconv.Itoa(w.port)})
	})
}

// configure adds to the documented unit.
func (b *booted) configure(lines string) {
	text := "[Unit]\nStartLimitIntervalSec=0\n[Service]\n" +
		"Environment=" + noPause + "\n" + lines
	b.Put("/etc/systemd/system/"+unit+".d/test.conf", systemd.File{Text: text, Mode: 0o644})
	b.Succeed("systemctl", "daemon-reload")
}

// property is what systemd says of the service.
func (b *booted) property(name string) string {
	b.t.Helper()
	return strings.TrimSpace(b.Succeed("systemctl", "show", "--value", "-p", name, unit))
}

// changes waits until a property is not what it was.
func (b *booted) changes(property, was string) {
	b.t.Helper()
	changed := func() bool { return b.property(property) != was }
	require.Eventually(b.t, changed, waitLimit, 20*time.Millisecond) // each time a program is run
}

// stop stops the service, and checks that its main process has ended by itself, that systemd has
// seen that, and has never ended a process by force.
func (b *booted) stop(step string) {
	b.t.Helper()
	b.Succeed("systemctl", "stop", unit)
	require.Equal(b.t, "success", b.property("Result"), step)
	said := b.Succeed("systemctl", "show", "-p", "ActiveState,ExecMainCode,ExecMainStatus", unit)
	require.NotRegexp(b.t, "ActiveState=.*ing", said, step)
	require.Contains(b.t, said, "ExecMainCode=1\n", step) // CLD_EXITED
	require.Contains(b.t, said, "ExecMainStatus=0\n", step)
	b.Succeed("journalctl", "--sync")
	said = b.Succeed("journalctl", "-o", "cat", "--lines=100", "_PID=1")
	require.Contains(b.t, said, "Stopped "+unit, step)
	require.NotContains(b.t, said, "SIGKILL", step)
	require.NotContains(b.t, said, "not our child", step)
}

// connected is a connection to the service's node.
func (b *booted) connected() *nodes.Conn {
	b.t.Helper()
	n, err := nodes.New(nodes.Config{
		Name: "client@127.0.0.1", Cookie: testCookie,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + b.mapper}},
	})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = n.Close() })
	c, err := n.Connect(b.t.Context(), "cnode@127.0.0.1")
	require.NoError(b.t, err)
	return c
}

// The whole of a service's life under systemd, many times: a start, an upgrade by reload, and a
// stop, before which the node sends everything that it owes.
func TestServiceStopsInOrder(t *testing.T) {
	t.Parallel() // it waits for other processes
	rounds := need.Fewer(3, 10)
	boots(t, func(b *booted) {
		const command = "/usr/local/bin/cnode-demo serve --name cnode@127.0.0.1 --workers 2"
		for _, lines := range []string{"", "ExecStart=\nExecStart=" + command + "\n"} {
			b.configure(lines)
			for range rounds {
				b.lives()
			}
		}
	})
}

func (b *booted) lives() {
	const times, size = 500, 100_000
	t := b.t
	t.Helper()
	b.Succeed("systemctl", "start", unit)
	first := b.property("MainPID")
	c := b.connected()
	b.Succeed("systemctl", "reload", unit)
	require.NotEqual(t, first, b.property("MainPID"))
	require.NoError(t, c.SendName(t.Context(), "peer",
		ei.Tuple{ei.Atom("source"), c.Self(), ei.Int(times), ei.Binary(make([]byte, size))}))
	_, err := c.Receive(t.Context()) // it has begun to send
	require.NoError(t, err)
	stopped := make(chan error, 1)
	go func() {
		_, err := b.Run("systemctl", "stop", unit)
		stopped <- err
	}()
	b.changes("ActiveState", "active")
	for range times - 1 {
		m, err := c.Receive(t.Context())
		require.NoError(t, err)
		m.Release()
	}
	_, err = c.Receive(t.Context())
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, c.Close()) // the node need not wait for more to be read
	require.NoError(t, <-stopped)
	require.Equal(t, "success", b.property("Result"))
	b.stop("")
}

// A stop at any step of a reload ends the node, whichever process it is, and every process in
// order.
func TestServiceStopsDuringReload(t *testing.T) {
	t.Parallel() // it waits for other processes
	kinds := []string{""}
	if os.Getenv(stopsVariable) != "" {
		kinds = append(kinds, "KillMode=control-group\n",
			"ExecStart=\nExecStart=/usr/local/bin/cnode-demo serve --name cnode@127.0.0.1 --workers 2\n")
	}
	d := newDirector(t)
	start := func(b *booted) { d.started(b.t, func() { b.Succeed("systemctl", "start", unit) }) }
	boots(t, func(b *booted) {
		for _, lines := range kinds {
			b.configure("Environment=" + d.env() + "\n" + lines)
			d.every(b.t, 0, func() {
				start(b)
				d.Await("", nil)
				b.Succeed("systemctl", "reload", unit)
				d.Until(b.t, lastStep)
				b.stop("")
			}, func(step string) {
				start(b)
				d.During(b.t, step, func() { b.Succeed("systemctl", "reload", "--no-block", unit) }, func(int) {
					_, err := b.Run("systemctl", "stop", "--no-block", unit)
					assert.NoError(b.t, err)
					for err == nil { // until it is stopping
						_, err = b.Run("systemctl", "-q", "is-active", unit)
					}
				})
				b.stop(step)
				require.True(b.t, d.inOrder(), step)
			})
		}
	})
}

// With WatchdogSec= each process of the service tells systemd that it is alive, often enough.
func TestServiceIsWatched(t *testing.T) {
	t.Parallel() // it waits for other processes
	boots(t, func(b *booted) {
		b.configure("WatchdogSec=5s\n") // a machine may stand still for a second or two
		b.Succeed("systemctl", "start", unit)
		for range 2 {
			main := b.property("MainPID")
			for range 3 {
				last := b.property("WatchdogTimestampMonotonic")
				b.changes("WatchdogTimestampMonotonic", last)
			}
			require.Equal(b.t, main, b.property("MainPID"), "it has not been started again")
			b.Succeed("systemctl", "reload", unit)
		}
		b.stop("")
	})
}
