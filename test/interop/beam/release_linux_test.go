package beam

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/systemd"
)

const socketsPage = "../../../docs/how-to/websockets-that-outlive-a-deploy.md"

// release makes a release of testdata/rooms.ex with Mix, with the page's lines in its
// configuration. It returns the release's folder.
func release(t *testing.T, e otp.Elixir) string {
	t.Helper()
	src := peers(t, socketPeers...)
	require.NoError(t, os.CopyFS(filepath.Join(src, "cnode"), os.DirFS("../../../beam/cnode")))
	app := filepath.Join(src, "my_app")
	require.NoError(t, os.CopyFS(app, os.DirFS("testdata/release")))
	text := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(b)
	}
	write := func(path, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write(filepath.Join(app, "lib/rooms.ex"), text("testdata/rooms.ex"))
	printed := regexp.MustCompile(`(?s)# config/runtime.exs[^\n]*\n(.*?)\n\n`).FindStringSubmatch(text(socketsPage))
	require.NotNil(t, printed)
	const path = `"/run/app/front.sock"`
	require.Contains(t, printed[1], path)
	write(filepath.Join(app, "config/runtime.exs"), "import Config\nconfig :rooms, Rooms.Endpoint, http: [\n"+
		strings.Replace(printed[1], path, `System.get_env("FRONT", `+path+")", 1)+"]\n")
	for _, name := range socketPeers {
		mix := filepath.Join(src, name, "mix.exs")
		all := strings.Replace(text(mix), "deps: deps()", `deps: for(dep <- deps(), name = elem(dep, 0),
			File.dir?(Path.expand("../#{name}", __DIR__)), uniq: true, do: {name, path: "../#{name}"})`, 1)
		write(mix, strings.Replace(all, "aliases: aliases(),", "", 1)) // they make what is not here
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, beside(e, "bash"), "-c", "cd "+app+" && mix release")
	cmd.Env, cmd.WaitDelay = append(os.Environ(), "MIX_ENV=prod", "HOME="+src), time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(app, "_build/prod/rel/my_app")
}

// beside is a program of the root file system of an Elixir.
func beside(e otp.Elixir, program string) string {
	return filepath.Join(filepath.Dir(e.Program), program)
}

// A release goes on with the sockets of the one before, however that one has ended.
func TestReleaseOfSockets(t *testing.T) {
	need.Long(t, 3*time.Minute)
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		if e.Version == "1.14" {
			t.Skip("Phoenix 1.8 needs Elixir 1.15")
		}
		dir := release(t, e)
		h := newFront(t)
		t.Setenv("FRONT", h.path)
		t.Setenv("ERL_EPMD_PORT", fmt.Sprint(otp.Epmd(t)))
		start := func(name string) *worker {
			return serve(t, h, beside(e, "bash"), "-c", "RELEASE_NODE="+name+" exec "+dir+"/bin/my_app start")
		}
		name, w := "blue", start("blue")
		ends := func(s syscall.Signal) {
			t.Helper()
			require.NoError(t, syscall.Kill(w.pid, s))
			w.wait()
		}
		var all []*parley
		for _, path := range []string{"/client", "/server"} {
			all = append(all, hold(t, 20, 60*time.Millisecond, func() (*talker, error) {
				return talk(h.addr, path, 50*time.Millisecond, dialPlain)
			}))
		}
		works := func() { all[0].works(t); all[1].works(t) }
		for _, how := range []string{"kill", "stop", "rolling", "standby", "cold"} {
			works()
			at := time.Now()
			switch how {
			case "kill":
				ends(syscall.SIGKILL)
				w = start(name)
			case "stop":
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				out, err := exec.CommandContext(ctx, beside(e, "bash"), "-c", "RELEASE_NODE="+name+" "+dir+"/bin/my_app stop").CombinedOutput()
				cancel()
				require.NoError(t, err, "%s", out)
				w.wait()
				w = start(name)
			case "rolling", "standby":
				name = map[string]string{"blue": "green", "green": "blue"}[name]
				next := start(name)
				at = time.Now()
				ends(map[string]syscall.Signal{"rolling": syscall.SIGTERM, "standby": syscall.SIGKILL}[how])
				w = next
			case "cold":
				ends(syscall.SIGTERM)
				time.Sleep(3 * time.Second)
				w = start(name)
			}
			works()
			t.Logf("%s: all work again after %v", how, time.Since(at).Round(10*time.Millisecond))
		}
		for _, p := range all {
			p.end(t, time.Now())
		}
		require.Zero(t, h.k.Stats().Reset)
		require.EqualValues(t, 40, h.k.Stats().Accepted)
	})
}

// The units of the pages, with a release: its sockets outlive a restart, a kill, and what the page
// types for a standby.
func TestReleaseUnits(t *testing.T) {
	need.Long(t, 2*time.Minute)
	const sessionsPage = "../../../docs/how-to/sessions-that-outlive-a-beam.md"
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		if e.Version != "1.18" {
			t.Skip("one release for all systems: that of the oldest C library")
		}
		program := filepath.Join(t.TempDir(), "cnode-front")
		build := exec.Command("go", "build", "-C", "../../../contrib/front", "-o", program, "./cmd/cnode-front")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // the machine's C library is its own
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		addr := vacant.Vacant(t)
		unit := systemd.Printed(t, sessionsPage, "cnode-front.service")
		require.Contains(t, unit, "0.0.0.0:4000")
		files := map[string]systemd.File{
			"/usr/local/bin/cnode-front":              {From: program, Mode: 0o755},
			"/etc/systemd/system/cnode-front.service": {Text: strings.Replace(unit, "0.0.0.0:4000", addr, 1), Mode: 0o644},
			"/etc/systemd/system/my_app@.service":     {Text: systemd.Printed(t, socketsPage, "my_app@.service"), Mode: 0o644},
			systemd.EnvironmentPath:                   systemd.Environment(fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t))),
		}
		root := filepath.Join(filepath.Dir(e.Program), "../root")
		for _, name := range []string{"/usr/bin/sed", "/usr/bin/grep", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"} {
			files[name] = systemd.File{From: filepath.Join(root, name), Mode: 0o755}
		}
		dir := release(t, e)
		require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			files["/opt/my_app"+strings.TrimPrefix(path, dir)] = systemd.File{From: path, Mode: info.Mode().Perm()}
			return err
		}))
		systemd.Each(t, files, func(t *testing.T, m *systemd.Machine) {
			m.Succeed("ln", "-s", "mawk", "/usr/bin/awk")
			m.Succeed("useradd", "--system", "--create-home", "app")
			m.Succeed("systemctl", "start", "cnode-front.service")
			m.Succeed("systemctl", "start", "my_app@green")
			var all []*parley
			for _, path := range []string{"/client", "/server"} {
				// 500 messages at most wait for the end of an outage, however busy the machine is
				all = append(all, hold(t, 20, 200*time.Millisecond, func() (*talker, error) {
					return talk(addr, path, 50*time.Millisecond, dialPlain)
				}))
			}
			works := func() { t.Helper(); all[0].works(t); all[1].works(t) }
			pid := func() string { return m.Succeed("systemctl", "show", "--value", "-p", "MainPID", "my_app@green") }
			works()
			m.Succeed("systemctl", "restart", "my_app@green")
			works()
			before := pid()
			m.Succeed("systemctl", "kill", "--signal=KILL", "my_app@green")
			require.Eventually(t, func() bool {
				out, _ := m.Run("systemctl", "is-active", "my_app@green")
				return out == "active\n" && pid() != before
			}, expect.Limit, 20*time.Millisecond)
			works()
			m.Types(socketsPage, "my_app@blue", "")
			works()
			for _, p := range all {
				p.end(t, time.Now())
			}
			m.Succeed("systemctl", "stop", "my_app@blue", "cnode-front.service")
		})
	})
}
