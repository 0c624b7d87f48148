package otp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process is a started program together with whatever it starts itself: they
// are one process group, which is killed as a whole.
type process struct {
	cmd  *exec.Cmd
	dir  string        // home and temporary directory, removed by close
	done chan struct{} // closed when the program has ended
	err  error         // how it ended; valid once done is closed
}

const logName = "output.log"

// home makes a directory that a process of ours can live in.
func home() (string, error) { return os.MkdirTemp("", "cnode-otp-") }

// start starts cmd in dir, which the process then owns. Output for which cmd
// names no other place goes to the log.
func start(cmd *exec.Cmd, dir string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, dir: dir, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended describes the end of a process whose done is closed.
func (p *process) ended() string {
	if p.err == nil {
		return "it ended with status 0"
	}
	return "it ended: " + p.err.Error()
}

func (p *process) log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, logName))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// failure is an error with the log below it.
func (p *process) failure(format string, args ...any) error {
	return fmt.Errorf(format+"\n%s", append(args, indent(p.log()))...)
}

// groupLimit is how long a group that has been killed may take to end.
const groupLimit = 10 * time.Second

// kill ends the whole group at once, and returns when the program is gone, and so is everything it
// has started, which might otherwise still be writing files.
func (p *process) kill() {
	killGroup(p.cmd.Process.Pid)
	<-p.done
	for begun := time.Now(); groupLives(p.cmd.Process.Pid) && time.Since(begun) < groupLimit; {
		time.Sleep(time.Millisecond)
	}
}

func (p *process) close() {
	p.kill()
	os.RemoveAll(p.dir)
}

// show puts the log into the output of a failed test.
func (p *process) show(t testing.TB, what string) {
	t.Helper()
	if t.Failed() {
		t.Logf("output of %s:\n%s", what, indent(p.log()))
	}
}

func indent(text string) string {
	return "\t" + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n\t")
}

// environment is what a program started here sees: nothing that its user has set
// for his own Erlang.
func environment(home string, more ...string) []string {
	env := []string{"HOME=" + home, "LANG=C.UTF-8", "ERL_CRASH_DUMP_SECONDS=0"}
	for _, name := range []string{"PATH", "TMPDIR", "SYSTEMROOT"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, more...)
}
