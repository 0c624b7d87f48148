package otp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
)

// A Program is a running program that serves a node: one of the libei programs,
// or cnode-demo.
type Program struct {
	Name    string // the node's name
	Address string // a port number, or the path of a UNIX socket
	process *process
	hold    io.Closer     // its standard input
	output  *os.File      // the reading end of its standard output
	copied  chan struct{} // closed when the output has come to its end
}

// Libei returns the directory of the libei programs, which test/prepare.sh has
// compiled from test/interop/libei: ei_echo, ei_client,
// ei_connect_rate, ei_terms. Without it the test is skipped, or fails where
// CNODE_TEST_REQUIRE is set.
func Libei(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(envLibei)
	if dir == "" {
		need.Missing(t, "no libei programs: "+envLibei+" is not set (test/run.sh compiles them)")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Serve starts a program that prints "ready NAME ADDRESS" on a line of its own
// once it can be reached, and waits for that line. It is killed when the test
// ends, with all that it has started; if the test has failed, what it has printed
// is shown. Unless cmd says otherwise its standard input is a pipe that ends when
// this process does.
func Serve(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	p, err := LaunchProgram(ctx, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.process.show(t, cmd.Path)
		p.Close()
	})
	return p
}

// LaunchProgram is Serve outside a test. The context bounds the wait for the line
// only. The caller calls Close.
func LaunchProgram(ctx context.Context, cmd *exec.Cmd) (*Program, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	p, err := startProgram(cmd, dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := p.awaitReady(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func startProgram(cmd *exec.Cmd, dir string) (*Program, error) {
	p := &Program{hold: io.NopCloser(nil), copied: make(chan struct{})}
	if cmd.Stdin == nil {
		hold, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		p.hold = hold
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.Stdout = w
	if p.process, err = start(cmd, dir); err != nil {
		r.Close()
		return nil, err
	}
	p.output = r
	return p, nil
}

func (p *Program) awaitReady(ctx context.Context) error {
	ready := make(chan [2]string, 1)
	go func() {
		defer close(p.copied)
		p.record(ready)
	}()
	select {
	case told := <-ready:
		p.Name, p.Address = told[0], told[1]
		return nil
	case <-p.copied:
		p.Kill()
		return p.process.failure("%s: %s", p.process.cmd.Path, p.process.ended())
	case <-ctx.Done():
		return p.process.failure("%s does not say that it is ready: %w", p.process.cmd.Path, ctx.Err())
	}
}

// record copies the program's output to its log until it ends, and gives the
// words of the ready line.
func (p *Program) record(ready chan<- [2]string) {
	log, err := os.OpenFile(filepath.Join(p.process.dir, logName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	defer log.Close()
	for r := bufio.NewReader(p.output); ; {
		line, err := r.ReadString('\n')
		_, writeErr := log.WriteString(line)
		if words := strings.Fields(line); len(words) == 3 && words[0] == "ready" {
			select {
			case ready <- [2]string{words[1], words[2]}:
			default:
			}
		}
		if errors.Join(err, writeErr) != nil {
			return
		}
	}
}

// Pid returns the number of the operating-system process.
func (p *Program) Pid() int { return p.process.cmd.Process.Pid }

// Log returns what the program has printed so far.
func (p *Program) Log() string { return p.process.log() }

// Done is closed when the program has ended. What it has started may live on.
func (p *Program) Done() <-chan struct{} { return p.process.done }

// Kill ends the program, with all that it has started, at once.
func (p *Program) Kill() { p.process.kill() }

// Close kills the program if it still runs.
func (p *Program) Close() {
	p.process.close()
	p.hold.Close()
	p.output.Close() // what it has started may have left the group and hold the other end
	<-p.copied
}
