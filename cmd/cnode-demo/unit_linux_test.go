package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/stretchr/testify/require"
)

// upgradePage has the units of cnode-demo serve.
const upgradePage = "../../docs/operate/upgrade.md"

// units are the files of systemd that the page shows, by name.
func units(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"cnode.socket", "cnode.service"} {
		files[name] = systemd.Printed(t, upgradePage, name)
	}
	return files
}

// setting is the value of the one line of a unit that sets something.
func setting(t *testing.T, unit, key string) string {
	t.Helper()
	found := regexp.MustCompile("(?m)^"+key+"=(.*)$").FindAllStringSubmatch(unit, -1)
	require.Len(t, found, 1, key)
	return found[0][1]
}

// The units of the document do what it says of them: the node starts on the socket, a reload
// upgrades it, and the service manager hears of each process that is to be watched.
func TestUnits(t *testing.T) {
	files := units(t)
	socket, service := files["cnode.socket"], files["cnode.service"]
	require.NotEmpty(t, socket)
	require.NotEmpty(t, service)
	require.Equal(t, "cnode.socket", setting(t, service, "Requires"))
	require.Equal(t, "notify", setting(t, service, "Type"))
	require.Equal(t, "all", setting(t, service, "NotifyAccess"), "who has just come is not the main process yet")
	require.Equal(t, "mixed", setting(t, service, "KillMode"), "the front tells its workers by itself")
	require.Equal(t, "restart", setting(t, service, "RuntimeDirectoryPreserve"))
	variable, dir, ok := strings.Cut(setting(t, service, "Environment"), "=")
	require.True(t, ok)
	require.Equal(t, "XDG_RUNTIME_DIR", variable)
	require.Equal(t, "/run/"+setting(t, service, "RuntimeDirectory"), dir)
	command := func(key string) []string {
		line := words(setting(t, service, key))
		require.Equal(t, "/usr/local/bin/cnode-demo", line[0])
		return line[1:]
	}
	host, port, err := net.SplitHostPort(setting(t, socket, "ListenStream"))
	require.NoError(t, err)
	require.NotEqual(t, "0", port)

	w := newHome(t, 0)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(w.home, "notify")})
	require.NoError(t, err)
	defer manager.Close()
	heard := func() string {
		t.Helper()
		require.NoError(t, manager.SetReadDeadline(time.Now().Add(waitLimit)))
		said := make([]byte, 100)
		n, err := manager.Read(said)
		require.NoError(t, err)
		return string(said[:n])
	}
	watches := func(pid int) {
		t.Helper()
		require.Equal(t, "READY=1\nMAINPID="+strconv.Itoa(pid)+"\n", heard())
	}
	w.env = append(w.env, variable+"="+sockdir.New(t), "NOTIFY_SOCKET="+manager.LocalAddr().String())
	// the service itself may run on this machine
	f, at := opened(t, "tcp", net.JoinHostPort(host, "0"))
	s := w.successive([]*os.File{f}, append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, program},
		command("ExecStart")...)...)
	watches(s.cmd.Process.Pid)
	require.True(t, strings.HasSuffix(at, ":"+s.place), "%s, not %s", s.place, at)
	parts := words(w.succeed(command("ExecReload")...))
	require.Len(t, parts, 4)
	require.Equal(t, []string{"upgraded", s.name, strconv.Itoa(s.cmd.Process.Pid)}, parts[:3])
	next, err := strconv.Atoi(parts[3])
	require.NoError(t, err)
	endsWithTest(t, next)
	require.Regexp(t, "^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n$", heard())
	watches(next)
	old := []string{} // it says so, too, and waits until it is heard
	for !slices.Contains(old, "BARRIER=1") {
		old = append(old, heard())
	}
	require.Contains(t, old, "MAINPID="+strconv.Itoa(next)+"\n")
	s.exits()
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
}

// The packages have the units of the document, for the program where a package has it; the
// directory of the user is made with the service.
func TestPackagedUnits(t *testing.T) {
	added := regexp.MustCompile("(?m)^(Description|Documentation|StateDirectory|StateDirectoryMode)=.*\n")
	for name, text := range units(t) {
		packaged, err := os.ReadFile("../../packaging/systemd/" + name)
		require.NoError(t, err)
		own := strings.ReplaceAll(added.ReplaceAllString(string(packaged), ""), "/usr/bin/", "/usr/local/bin/")
		require.Equal(t, text, strings.TrimPrefix(own, "[Unit]\n\n"), name)
	}
}

// systemd understands the units.
func TestUnitsVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("not verified by systemd itself, which is no peer and is not installed for this: TestUnits has run the units' commands")
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for name, text := range units(t) {
		// the program must exist
		text = strings.ReplaceAll(text, "/usr/local/bin/cnode-demo", program)
		text = strings.ReplaceAll(text, "User=cnode\n", "")
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		args = append(args, path)
	}
	require.Len(t, args, 4)
	cmd := exec.Command(analyze, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":") // ":" adds the system's own
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), dir, "a warning")
	require.NotContains(t, string(out), "cnode.", "a warning")
}
