package pty

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/need"
)

// limit is how long a test waits for what is to be on the screen.
const limit = 30 * time.Second

// A Terminal is one in which a program runs.
type Terminal struct {
	keys *os.File
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended

	mu      sync.Mutex
	columns int
	rows    int
	screen  []byte        // all that was printed
	seen    int           // up to where Expect has looked
	printed chan struct{} // closed when there is more
}

// Start runs a program in a terminal of its own, of 100 columns and 30 rows. It is killed, with all
// that it has started, when the test ends; if the test has failed, the log has the screen.
func Start(t testing.TB, cmd *exec.Cmd) *Terminal {
	t.Helper()
	keys, name, err := open()
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p := &Terminal{keys: keys, cmd: cmd, done: make(chan struct{}), printed: make(chan struct{})}
	p.Resize(t, 100, 30)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read()
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		keys.Close()
		if t.Failed() {
			t.Logf("the screen of %s:\n%q", filepath.Base(cmd.Path), p.text(0))
		}
	})
	return p
}

// open gives a new terminal's side for keys, and the name of the other one.
func open() (*os.File, string, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", os.NewSyscallError("open /dev/ptmx", err)
	}
	keys := os.NewFile(uintptr(fd), "keys")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		keys.Close()
	}
	return keys, fmt.Sprintf("/dev/pts/%d", number), err
}

func (p *Terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := p.keys.Read(b)
		p.mu.Lock()
		p.screen = append(p.screen, b[:n]...)
		close(p.printed)
		p.printed = make(chan struct{})
		p.mu.Unlock()
		if err != nil { // the program has ended
			return
		}
	}
}

// isControl is what moves the cursor, or colours.
var isControl = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\\][^\a]*\a|[\r\a\x00]")

func (p *Terminal) text(from int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return isControl.ReplaceAllString(string(p.screen[from:]), "")
}

// Type types keys: "help\r", "\t" for Tab, "\x07" for ^G.
func (p *Terminal) Type(t testing.TB, keys string) {
	t.Helper()
	p.mu.Lock()
	p.seen = len(p.screen)
	p.mu.Unlock()
	if _, err := p.keys.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// Expect waits until all of these stand on the screen, in this order, below what was there when
// keys were typed last, and returns what stands there.
func (p *Terminal) Expect(t testing.TB, want ...string) string {
	t.Helper()
	timeout := time.After(limit)
	for {
		p.mu.Lock()
		printed, seen := p.printed, p.seen
		p.mu.Unlock()
		text := p.text(seen)
		if inOrder(text, want) {
			return text
		}
		select {
		case <-printed:
		case <-timeout:
			t.Fatalf("not on the screen: %q\nthere is: %q", want, text)
		}
	}
}

func inOrder(text string, want []string) bool {
	for _, w := range want {
		i := strings.Index(text, w)
		if i < 0 {
			return false
		}
		text = text[i+len(w):]
	}
	return true
}

// Resize changes the size, of which the program hears by a signal.
func (p *Terminal) Resize(t testing.TB, columns, rows int) {
	t.Helper()
	p.mu.Lock()
	p.columns, p.rows = columns, rows
	p.mu.Unlock()
	if err := p.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)})
	}); err != nil {
		t.Fatal(err)
	}
}

// still is for how long a program must print nothing to have finished a picture.
const still = 200 * time.Millisecond

// Cast waits until the program prints nothing for a moment, and returns all that it has printed as
// an asciicast, version 2, which docs/site/pictures draws.
func (p *Terminal) Cast(t testing.TB, title string) []byte {
	t.Helper()
	timeout := time.After(limit)
	for quiet := false; !quiet; {
		p.mu.Lock()
		printed := p.printed
		p.mu.Unlock()
		select {
		case <-printed:
		case <-time.After(still):
			quiet = true
		case <-p.done:
			quiet = true
		case <-timeout:
			t.Fatal("it prints without a pause")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	head, err := json.Marshal(map[string]any{"version": 2, "width": p.columns, "height": p.rows, "title": title})
	if err != nil {
		t.Fatal(err)
	}
	event, err := json.Marshal([]any{0, "o", string(p.screen)})
	if err != nil {
		t.Fatal(err)
	}
	return append(append(append(head, '\n'), event...), '\n')
}

func (p *Terminal) control(f func(fd int) error) error {
	raw, err := p.keys.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// Done is closed when the program has ended.
func (p *Terminal) Done() <-chan struct{} { return p.done }

// Kill ends the program, and what it has started, at once.
func (p *Terminal) Kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// Hangup closes the terminal, as when its window is closed.
func (p *Terminal) Hangup() { p.keys.Close() }

// Environment is what a program in a terminal needs: TERM, and where that is described, for
// programs that run in a root file system of their own.
func Environment(t testing.TB) []string {
	t.Helper()
	for _, dir := range []string{"/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo", "/usr/lib/terminfo"} {
		description, err := os.ReadFile(dir + "/x/xterm")
		if err != nil {
			continue
		}
		to := filepath.Join(t.TempDir(), "x")
		if err = os.MkdirAll(to, 0o755); err == nil {
			err = os.WriteFile(filepath.Join(to, "xterm"), description, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return []string{"TERM=xterm", "TERMINFO=" + filepath.Dir(to)}
	}
	need.Missing(t, "no description of xterm (package ncurses-base)")
	return nil
}
