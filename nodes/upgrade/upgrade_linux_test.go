package upgrade_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/director"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

const counterNode = "counter@127.0.0.1"

// A run is a service, in whichever process, and a node that is connected to it.
type run struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *os.File    // of its processes
	lines chan string // what its processes say
	n     *nodes.Node
	c     *nodes.Conn
}

func begin(t *testing.T, env ...string) *run {
	t.Helper()
	port := vacant.Free(t)
	r := &run{t: t, cmd: exec.Command(os.Args[0]), lines: make(chan string, 100)}
	r.cmd.Env = append(os.Environ(), role+"="+counterNode, fmt.Sprintf("ERL_EPMD_PORT=%d", port), "NOTIFY_SOCKET=")
	r.cmd.Env = append(r.cmd.Env, env...)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	r.cmd.Stdout, r.cmd.Stderr = write, os.Stderr
	require.NoError(t, r.cmd.Start())
	r.out = write
	over := make(chan struct{})
	go func() {
		defer close(over)
		for s := bufio.NewScanner(read); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = r.cmd.Wait()
		<-over // no process has its output any more
		read.Close()
	})
	r.hears("ready " + counterNode)
	r.connect(port)
	t.Cleanup(func() {
		_ = write.Close()
		if r.c.Err() == nil {
			_ = syscall.Kill(r.pid(), syscall.SIGTERM)
		}
	})
	return r
}

func connected(t *testing.T, mapper string) (*nodes.Node, *nodes.Conn) {
	t.Helper()
	n, err := nodes.New(nodes.Config{
		Name: "client@127.0.0.1", Cookie: "secret",
		Resolver: struct{ nodes.Resolver }{&nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + mapper}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(expect.Context(t)))
	_, err = n.ERPC(expect.Context(t), counterNode, "os", "getpid")
	require.NoError(t, err)
	return n, n.Conn(counterNode)
}

// connect connects to the service, whose nodes are known at this port.
func (r *run) connect(port int) {
	r.t.Helper()
	r.n, r.c = connected(r.t, fmt.Sprint(port))
}

// again starts the program another time, with the same output.
func (r *run) again(env ...string) (pid int) {
	r.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stdout, cmd.Stderr = append(slices.Clone(r.cmd.Env), env...), r.out, os.Stderr
	require.NoError(r.t, cmd.Start())
	go cmd.Wait() // how it ends is not this test's affair
	return cmd.Process.Pid
}

// hears waits for lines that begin so, of several processes perhaps, in any order; it returns the
// last one.
func (r *run) hears(begins ...string) string {
	r.t.Helper()
	for {
		line := expect.Returns(r.t, r.lines)
		i := slices.IndexFunc(begins, func(begin string) bool { return strings.HasPrefix(line, begin) })
		if i < 0 {
			continue
		}
		if begins = slices.Delete(begins, i, i+1); len(begins) == 0 {
			return line
		}
	}
}

func (r *run) pid() int {
	r.t.Helper()
	pid, err := nodes.ERPCAs[int](expect.Context(r.t), r.n, counterNode, "os", "getpid")
	require.NoError(r.t, err)
	return pid
}

func (r *run) add(k int) int {
	r.t.Helper()
	total, err := nodes.CallNameAs[int](expect.Context(r.t), r.n, counterNode, "counter", ei.T("add", k))
	require.NoError(r.t, err)
	return total
}

func (r *run) signal(pid int, s syscall.Signal) {
	r.t.Helper()
	require.NoError(r.t, syscall.Kill(pid, s))
}

// On SIGHUP, and when asked, another process goes on with the node, and its peer has still the same
// connection, and the count.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	r := begin(t)
	first := r.pid()
	require.Equal(t, 1, r.add(1))
	r.signal(first, syscall.SIGHUP)
	r.hears("ready "+counterNode, fmt.Sprint("left ", first))
	second := r.pid()
	require.NotEqual(t, first, second)
	require.Equal(t, 3, r.add(2))

	_, err := r.n.ERPC(expect.Context(t), counterNode, "upgrader", "upgrade")
	require.NoError(t, err)
	r.hears(fmt.Sprint("left ", second))
	require.NotEqual(t, second, r.pid())
	require.Equal(t, 6, r.add(3))
	require.NoError(t, r.c.Err())

	r.signal(r.pid(), syscall.SIGTERM)
	<-r.c.Done()
	r.hears("left")
}

// A program that does not take over changes nothing.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/no/program", "/bin/false"} {
		r := begin(t, role+"_NEXT="+program)
		first := r.pid()
		for range 2 {
			r.signal(first, syscall.SIGHUP)
			require.Equal(t, first, r.pid())
		}
		r.add(1)
		require.NoError(t, r.c.Err())
	}
}

// Whenever the process is told to end during an upgrade, the node ends, whichever process it is:
// the old one answers until it has waited for a last signal.
func TestUpgradeStopped(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 180*time.Millisecond; after += 20 * time.Millisecond {
		r := begin(t)
		first, begun := r.pid(), time.Now()
		r.signal(first, syscall.SIGHUP)
		time.Sleep(after)
		if time.Since(begun) > 190*time.Millisecond { // woken late: it may have waited for a last signal in vain
			first = r.pid()
		}
		r.signal(first, syscall.SIGTERM)
		expect.Returns(t, r.c.Done())
	}
}

// every has an upgrade happen once, and then again for each of its steps, at which act is called.
// If it is to be short, that is one in so many, beginning with first, those of a reload, and the
// last ones.
func every(t *testing.T, d *director.Director, first, oneIn int, happens func(), act func(step string)) {
	t.Helper()
	d.Await("", nil)
	happens()
	steps := d.Names()
	require.Greater(t, len(steps), 30, steps)
	for i, step := range steps {
		if !testing.Short() || i%oneIn == first || strings.HasPrefix(step, "reload: ") || i > len(steps)-3 {
			act(step)
		}
	}
}

// A SIGHUP that comes at any step of an upgrade is not lost: another one follows.
func TestHangUpDuringUpgrade(t *testing.T) {
	t.Parallel()
	d := director.New(t)
	every(t, d, 0, 4, func() {
		r := begin(t, stepsVariable+"="+d.Addr())
		r.signal(r.pid(), syscall.SIGHUP)
		r.hears("left")
	}, func(step string) {
		r := begin(t, stepsVariable+"="+d.Addr())
		first := r.pid()
		d.During(t, step, func() { r.signal(first, syscall.SIGHUP) }, func(int) { r.signal(first, syscall.SIGHUP) })
		left := []string{r.hears("left "), r.hears("left ")} // the one that followed, too, in any order
		require.Contains(t, left, fmt.Sprint("left ", first), step)
		require.NotContains(t, left, fmt.Sprint("left ", r.pid()), step)
		require.NoError(t, r.c.Err(), step)
	})
}

// Probes are answered, and are never refused, while the node goes from process to process and back
// from a program that does not take over, whether they come over new connections or over one.
func TestProbesDuringUpgrade(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		addr := filepath.Join(sockdir.New(t), "probe")
		if network == "tcp" {
			addr = vacant.Vacant(t)
		}
		r := begin(t, role+"_PROBE="+network+":"+addr)
		var all sync.WaitGroup
		over := make(chan struct{})
		for _, once := range []bool{true, false} {
			all.Go(func() {
				dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
				c := http.Client{Transport: &http.Transport{DisableKeepAlives: once, DialContext: dial}}
				defer c.CloseIdleConnections()
				for {
					for _, path := range []string{"/ready", "/live", "/startup"} {
						said, err := c.Get("http://service" + path)
						if !assert.NoError(t, err) {
							return
						}
						_, err = io.Copy(io.Discard, said.Body)
						assert.NoError(t, errors.Join(err, said.Body.Close()))
						assert.Equal(t, http.StatusOK, said.StatusCode, path)
					}
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		for range 5 {
			first := r.pid()
			r.signal(first, syscall.SIGHUP)
			r.hears(fmt.Sprint("left ", first))
		}
		close(over)
		all.Wait()
		last := r.pid()
		r.signal(last, syscall.SIGTERM)
		r.hears(fmt.Sprint("left ", last))
	}
}

// Without a manager that keeps descriptors a restart is a stop.
func TestRestartWithoutStore(t *testing.T) {
	t.Parallel()
	r := begin(t, "FDSTORE=")
	r.signal(r.pid(), syscall.SIGUSR2)
	expect.Returns(t, r.c.Done())
	require.NoError(t, r.cmd.Wait())
}

// What systemd has kept, and is of no use, is not in the way.
func TestKeptIsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]string{"cnode-fd-0": "there is no state", "cnode-fd-1:cnode-state": "descriptor 0 of 1 is missing",
		"cnode-state": "cannot go on"} {
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
		for i := range strings.Split(name, ":") {
			f, err := os.CreateTemp(t.TempDir(), "")
			require.NoError(t, err)
			defer f.Close()
			fmt.Fprint(f, "no state")
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", i+1))
		}
		cmd.Env = append(cmd.Env, "LISTEN_FDNAMES="+name, role+"="+counterNode, fmt.Sprintf("ERL_EPMD_PORT=%d", vacant.Free(t)), "NOTIFY_SOCKET=")
		var log strings.Builder
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = &log
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "ready")
		r := &run{t: t}
		r.signal(cmd.Process.Pid, syscall.SIGTERM)
		require.NoError(t, cmd.Wait(), "%s", &log)
		require.Contains(t, log.String(), "anew")
		require.Contains(t, log.String(), why)
	}
}

// units of a service whose node survives reloads and restarts; docs/operate/upgrade.md has them.
const unit = `[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify-reload
NotifyAccess=all
Environment=` + role + "=" + counterNode + ` ERL_EPMD_PORT=%d
ExecStart=/usr/local/bin/counter
RestartKillSignal=SIGUSR2
FileDescriptorStoreMax=1000
KillMode=mixed
`

// The ways in which systemd asks for an upgrade.
const (
	byCommand = "[Service]\nType=notify\nExecReload=/usr/local/bin/counter hangup $MAINPID\nSuccessExitStatus=SIGTERM\n"
	bySignal  = "[Service]\n" // as in the unit
)

// machines runs f with machines that have the service, at a port mapper.
func machines(t *testing.T, port int, f func(t *testing.T, m *systemd.Machine)) {
	program, err := os.Executable()
	require.NoError(t, err)
	systemd.Each(t, map[string]systemd.File{
		"/usr/local/bin/counter":              {From: program, Mode: 0o755},
		"/etc/systemd/system/counter.service": {Text: fmt.Sprintf(unit, port), Mode: 0o644},
		"/etc/systemd/system/counter.socket":  {Text: "[Socket]\nListenStream=" + vacant.Vacant(t) + "\n", Mode: 0o644},
	}, f)
}

// Under systemd the node survives a restart of its service: systemd has it meanwhile, and an Erlang
// node notices nothing.
func TestRestartBySystemd(t *testing.T) {
	t.Parallel() // it waits for other processes
	release := otp.Releases(t)[0]
	port := release.Epmd(t)
	machines(t, port, func(t *testing.T, m *systemd.Machine) {
		m.Succeed("systemctl", "start", "counter.socket", "counter.service")
		r := &run{t: t}
		r.connect(port)
		pids, total := []int{r.pid()}, 0
		erl := release.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		require.Equal(t, "true", erl.Eval(t, `monitor_node('`+counterNode+`', true), monitor(process, {counter, '`+counterNode+`'}), true`))
		for _, step := range []string{"restart", "restart", "reload", "restart"} {
			total++
			require.Equal(t, total, r.add(1))
			m.Succeed("systemctl", step, "counter.service")
			require.Eventually(t, func() bool { return !slices.Contains(pids, r.pid()) }, expect.Limit, 10*time.Millisecond, step)
			pids = append(pids, r.pid())
			require.NoError(t, r.c.Err(), step)
			total++
			require.Equal(t, fmt.Sprint(total), erl.Eval(t, `gen_server:call({counter, '`+counterNode+`'}, {add, 1})`), step)
		}
		require.Equal(t, "none", erl.Eval(t, `receive M -> M after 0 -> none end`))
		require.Equal(t, total+1, r.add(1))
		kept := m.Succeed("systemctl", "show", "--value", "-p", "NFileDescriptorStore", "counter.service")
		require.Equal(t, "0", strings.TrimSpace(kept))
		m.Succeed("systemctl", "stop", "counter.service")
		expect.Returns(t, r.c.Done())
		require.Equal(t, "success\n", m.Succeed("systemctl", "show", "--value", "-p", "Result", "counter.service"))
	})
}

// Whenever systemd stops or restarts a service during its upgrade, it finds the main process, which
// ends in order, and is never killed.
func TestSystemdStopsUpgrade(t *testing.T) {
	t.Parallel() // it waits for other processes
	port, step := vacant.Free(t), 50*time.Millisecond
	if testing.Short() {
		step *= 3
	}
	machines(t, port, func(t *testing.T, m *systemd.Machine) {
		for after := time.Duration(0); after <= 300*time.Millisecond; after += step {
			m.Succeed("systemctl", "start", "counter.socket", "counter.service")
			r := &run{t: t}
			r.connect(port)
			total := r.add(1)
			m.Succeed("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "counter.service")
			time.Sleep(after)
			m.Succeed("systemctl", "restart", "counter.service")
			require.Equal(t, total+1, r.add(1), after)
			m.Succeed("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "counter.service")
			time.Sleep(after)
			m.Succeed("systemctl", "stop", "counter.service")
			expect.Returns(t, r.c.Done())
			require.NoError(t, r.n.Close())
			require.Equal(t, "success\n", m.Succeed("systemctl", "show", "--value", "-p", "Result", "counter.service"), after)
		}
		m.Succeed("journalctl", "--sync")
		said := m.Succeed("journalctl", "-o", "cat", "--lines=1000", "_PID=1")
		require.NotContains(t, said, "SIGKILL")
		require.NotContains(t, said, "not our child")
	})
}

// configure adds to the service's unit.
func configure(m *systemd.Machine, lines string) {
	m.Put("/etc/systemd/system/counter.service.d/test.conf", systemd.File{Text: lines, Mode: 0o644})
	m.Succeed("systemctl", "daemon-reload")
}

// property is what systemd says of the service.
func property(m *systemd.Machine, name string) string {
	return strings.TrimSpace(m.Succeed("systemctl", "show", "--value", "-p", name, "counter.service"))
}

// A reload is over when another process is the node, and systemd knows it; or when none has become
// it, and the old one serves on.
func TestReloadBySystemd(t *testing.T) {
	t.Parallel() // it waits for other processes
	port := vacant.Free(t)
	machines(t, port, func(t *testing.T, m *systemd.Machine) {
		for _, fails := range []bool{false, true} {
			lines := bySignal
			if fails {
				lines += "Environment=" + role + "_NEXT=/usr/bin/false\n"
			}
			configure(m, lines)
			m.Succeed("systemctl", "start", "counter.socket", "counter.service")
			r := &run{t: t}
			r.connect(port)
			for range 3 {
				before := r.pid()
				m.Succeed("systemctl", "reload", "counter.service")
				require.Equal(t, "active", property(m, "ActiveState"))
				main := property(m, "MainPID")
				require.Equal(t, fails, r.pid() == before)
				m.Succeed("systemctl", "reload", "counter.service")
				require.Equal(t, fails, property(m, "MainPID") == main)
				r.add(1)
			}
			require.NoError(t, r.c.Err())
			require.Equal(t, 4, r.add(1))
			m.Succeed("systemctl", "stop", "counter.service")
			expect.Returns(t, r.c.Done())
			require.NoError(t, r.n.Close())
			require.Equal(t, "success", property(m, "Result"))
		}
	})
}

// A service may start programs that are nodes, too: they do not become the main process, and a stop
// finds the one that is.
func TestSystemdDoesNotHearChildren(t *testing.T) {
	t.Parallel() // it waits for other processes
	port := vacant.Free(t)
	machines(t, port, func(t *testing.T, m *systemd.Machine) {
		configure(m, bySignal)
		m.Succeed("systemctl", "start", "counter.socket", "counter.service")
		r := &run{t: t}
		r.connect(port)
		for i := range 2 { // of the first process, and of one that has taken over
			main := property(m, "MainPID")
			_, err := r.n.ERPC(expect.Context(t), counterNode, "os", "child", ei.Binary(fmt.Sprintf("child%d@127.0.0.1", i)))
			require.NoError(t, err)
			require.Equal(t, main, property(m, "MainPID"))
			m.Succeed("systemctl", "reload", "counter.service")
			require.NotEqual(t, main, property(m, "MainPID"))
		}
		m.Succeed("systemctl", "stop", "counter.service")
		expect.Returns(t, r.c.Done())
		require.Equal(t, "success", property(m, "Result"))
		require.Equal(t, "1", property(m, "ExecMainCode")) // CLD_EXITED
		require.Equal(t, "0", property(m, "ExecMainStatus"))
	})
}

// A stop at any step of a reload ends the node in order, whichever process it is, and is a success.
func TestSystemdStopsReload(t *testing.T) {
	t.Parallel() // it waits for other processes
	port, d := vacant.Free(t), director.New(t)
	machines(t, port, func(t *testing.T, m *systemd.Machine) {
		for i, lines := range []string{bySignal, byCommand} { // which share the steps if it is to be short
			configure(m, lines+"Environment="+stepsVariable+"="+d.Addr()+"\n")
			every(t, d, 4*i, 8, func() {
				m.Succeed("systemctl", "start", "counter.socket", "counter.service")
				main := property(m, "MainPID")
				m.Succeed("systemctl", "reload", "counter.service")
				require.Eventually(t, func() bool { return property(m, "MainPID") != main }, expect.Limit, time.Millisecond)
				d.Until(t, "owner: about to leave")
				m.Succeed("systemctl", "stop", "counter.service")
			}, func(step string) {
				m.Succeed("systemctl", "start", "counter.socket", "counter.service")
				d.During(t, step, func() { m.Succeed("systemctl", "reload", "--no-block", "counter.service") }, func(int) {
					_, err := m.Run("systemctl", "stop", "--no-block", "counter.service")
					for err == nil { // until it is stopping
						_, err = m.Run("systemctl", "-q", "is-active", "counter.service")
					}
				})
				m.Succeed("systemctl", "stop", "counter.service")
				require.Equal(t, "success", property(m, "Result"), step)
				require.Equal(t, "1", property(m, "ExecMainCode"), step) // CLD_EXITED
				require.Equal(t, "0", property(m, "ExecMainStatus"), step)
			})
		}
		m.Succeed("journalctl", "--sync")
		said := m.Succeed("journalctl", "-o", "cat", "--lines=1000", "_PID=1")
		require.NotContains(t, said, "SIGKILL")
		require.NotContains(t, said, "not our child")
	})
}
