//go:build unix

package party

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// lifetime is how long a party may live, so that a test does not wait for it for ever.
	lifetime = 10 * time.Minute
	// patience is how long what a test waits for may take on a busy machine.
	patience = time.Minute
)

// A Party is a process of the test's own program.
type Party struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	say    *json.Encoder
	hear   *json.Decoder
	killed bool
}

// Start starts the program, with additions to its environment, and files as descriptors from 3 on.
// The process ends with the test, or when its lifetime is over.
func Start(t testing.TB, env []string, files ...*os.File) *Party {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &Party{cmd: exec.Command(self)}
	p.cmd.Env = append(append(os.Environ(), AtExit()), env...)
	p.cmd.ExtraFiles, p.cmd.Stderr = files, os.Stderr
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.say, p.hear = json.NewEncoder(p.in), json.NewDecoder(out)
	watchdog := time.AfterFunc(lifetime, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// PID is the process id.
func (p *Party) PID() int { return p.cmd.Process.Pid }

// Hear receives what the party tells next: see Side.Tell.
func (p *Party) Hear(t testing.TB, v any) {
	t.Helper()
	require.NoError(t, p.hear.Decode(v), "party %d has said nothing", p.PID())
}

// Say says something to the party: see Side.Hear.
func (p *Party) Say(t testing.TB, v any) {
	t.Helper()
	require.NoError(t, p.say.Encode(v))
}

// Ask says something, and receives the answer.
func (p *Party) Ask(t testing.TB, question, answer any) {
	t.Helper()
	p.Say(t, question)
	p.Hear(t, answer)
}

// Report receives the party's report.
func (p *Party) Report(t testing.TB) (r Report) {
	t.Helper()
	p.Hear(t, &r)
	require.Equal(t, p.PID(), r.PID)
	require.Empty(t, r.Leak, r.Err)
	return r
}

// Killed waits until the party has been killed.
func (p *Party) Killed(t testing.TB) {
	t.Helper()
	p.killed = true
	type end struct {
		state *os.ProcessState
		err   error
	}
	ends := make(chan end, 1)
	go func() {
		state, err := p.cmd.Process.Wait()
		ends <- end{state, err}
	}()
	select {
	case e := <-ends:
		require.NoError(t, e.err)
		require.Equal(t, syscall.SIGKILL, e.state.Sys().(syscall.WaitStatus).Signal())
	case <-time.After(patience):
		p.wentOn(t, "not killed")
	}
}

// Halted waits until the party has been stopped.
func (p *Party) Halted(t testing.TB) {
	t.Helper()
	for begun := time.Now(); !Stopped(p.PID()); time.Sleep(time.Millisecond) {
		if time.Since(begun) >= patience {
			p.wentOn(t, "not stopped")
		}
	}
}

// wentOn fails the test: the party has not reached the point at which it was to be killed or
// stopped.
func (p *Party) wentOn(t testing.TB, what string) {
	t.Helper()
	_ = p.cmd.Process.Kill() // so that it says no more
	var said any
	err := p.hear.Decode(&said)
	require.Fail(t, what, "party %d went on, and said %v (%v)", p.PID(), said, err)
}

// GoOn lets a stopped party go on.
func (p *Party) GoOn(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
}

// Leave closes the party's input, and checks that it ends without an error, unless it has been
// killed.
func (p *Party) Leave(t testing.TB) {
	t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); !p.killed {
		require.NoError(t, err)
	}
}
