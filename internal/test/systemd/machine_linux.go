package systemd

import (
	"bytes"
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
)

// variable is the environment variable by which test/prepare.sh names the root file systems:
// VERSION=DIRECTORY, with spaces between.
const variable = "CNODE_TEST_SYSTEMD"

// waitLimit bounds every wait: ten times what a busy machine needs.
const waitLimit = 60 * time.Second

//go:embed boot.sh
var boot string

// A Machine is a systemd that runs.
type Machine struct {
	t    testing.TB
	init *exec.Cmd
	dir  string
	over chan struct{} // closed when it has ended

	mu   sync.Mutex
	said bytes.Buffer
}

// Each runs f as a subtest with a machine of every version of systemd that test/prepare.sh has
// brought. files are what the machines have beside systemd itself, by path. The test is skipped
// where this machine does not let a test boot another one.
func Each(t *testing.T, files map[string]File, f func(t *testing.T, m *Machine)) {
	t.Helper()
	need.Root(t, "only root can boot systemd in namespaces of its own")
	roots := os.Getenv(variable)
	if roots == "" {
		need.Missing(t, "no systemd to boot: "+variable+" is not set (test/run.sh brings its own)")
	}
	all := strings.Fields(roots)
	if testing.Short() {
		all = all[len(all)-1:]
	}
	for _, root := range all {
		version, dir, _ := strings.Cut(root, "=")
		t.Run("systemd"+version, func(t *testing.T) { f(t, start(t, dir, files)) })
	}
}

// A File is a file of a machine.
type File struct {
	Text string
	From string // the file's text is that of this file, if it is not empty
	Mode os.FileMode
	Own  int // the number of the user, and of the group
}

func start(t *testing.T, root string, files map[string]File) *Machine {
	t.Helper()
	m := &Machine{t: t, dir: t.TempDir(), over: make(chan struct{})}
	for _, dir := range []string{"groups", "over", "root", "files"} {
		m.try(os.Mkdir(filepath.Join(m.dir, dir), 0o755))
	}
	all := map[string]File{
		"/etc/machine-id":                 {Text: strings.Repeat("0", 31) + "1\n", Mode: 0o444},
		"/etc/systemd/system/test.target": {Text: "[Unit]\nDefaultDependencies=no\n", Mode: 0o644},
		"/etc/passwd":                     {Text: "root:x:0:0::/root:/bin/sh\n", Mode: 0o644},
		"/etc/group":                      {Text: "root:x:0:\n", Mode: 0o644},
	}
	for path, file := range files {
		all[path] = file
	}
	for path, file := range all {
		m.put(filepath.Join(m.dir, "files", path), file)
	}
	group := "cnode-test-" + strconv.Itoa(os.Getpid()) + "-" + filepath.Base(filepath.Dir(m.dir))
	m.init = exec.Command("sh", "-c", boot, "boot.sh", root, m.dir, group)
	m.init.Stdout, m.init.Stderr = m, m
	m.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC |
			syscall.CLONE_NEWUTS,
		Pdeathsig: syscall.SIGKILL, // and all of its processes with it
	}
	if err := m.init.Start(); err != nil {
		t.Skip("this machine lets nobody make namespaces: ", err)
	}
	go func() { defer close(m.over); _ = m.init.Wait() }()
	t.Cleanup(func() { m.end(group) })
	m.await()
	return m
}

// await waits until systemd answers.
func (m *Machine) await() {
	m.t.Helper()
	for end := time.Now().Add(waitLimit); ; {
		out, err := m.Run("systemctl", "is-system-running", "--wait")
		if strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded") {
			return
		}
		select {
		case <-m.over:
			if !strings.Contains(m.words(), "booting") {
				m.t.Skipf("this machine does not let a test boot another one: %s", m.words())
			}
			m.t.Fatalf("systemd has ended: %v: %s", m.init.ProcessState, m.words())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			m.t.Fatalf("systemd does not answer: %v: %s%s", err, out, m.words())
		}
	}
}

// end ends the machine, and removes what it leaves on this one.
func (m *Machine) end(group string) {
	if m.t.Failed() {
		journal, _ := m.Run("journalctl", "--no-pager", "--lines=200")
		m.t.Logf("the machine's journal:\n%s", journal)
	}
	_ = m.init.Process.Kill()
	<-m.over
	clean := exec.Command("sh", "-c", boot, "boot.sh", "clean", m.dir, group)
	clean.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := clean.CombinedOutput(); err != nil {
		m.t.Logf("%v: %v: %s", clean, err, out)
	}
}

// Enter is the command that runs another one in the machine, whose words follow.
func (m *Machine) Enter() []string {
	return []string{"nsenter", "-t", strconv.Itoa(m.init.Process.Pid), "-m", "-p", "-C", "-u", "-i", "--root", "--wd"}
}

// Run runs a command in the machine to its end, and gives both its outputs.
func (m *Machine) Run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append(append(m.Enter()[1:], name), args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "SYSTEMD_PAGER="}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Succeed runs a command that must succeed, and gives what it says.
func (m *Machine) Succeed(name string, args ...string) string {
	m.t.Helper()
	out, err := m.Run(name, args...)
	if err != nil {
		m.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return out
}

// Put writes a file of the machine.
func (m *Machine) Put(path string, file File) {
	m.t.Helper()
	m.put(filepath.Join("/proc", strconv.Itoa(m.init.Process.Pid), "root", path), file)
}

func (m *Machine) put(path string, file File) {
	m.t.Helper()
	m.try(os.MkdirAll(filepath.Dir(path), 0o755))
	text := []byte(file.Text)
	if file.From != "" {
		var err error
		text, err = os.ReadFile(file.From)
		m.try(err)
	}
	m.try(os.WriteFile(path, text, file.Mode))
	m.try(os.Chown(path, file.Own, file.Own))
}

func (m *Machine) try(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// Write takes what systemd says before it has a journal.
func (m *Machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.Write(b)
}

func (m *Machine) words() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.String()
}
