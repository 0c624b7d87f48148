package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/stretchr/testify/require"
)

func words(line string) []string { return strings.Fields(line) }

const testCookie = "cookie" // that of package otp, too

// A home has a directory with a cookie file, and a port mapper, that no other test sees.
type home struct {
	job  bool // successive processes are a job, as a shell makes one
	t    *testing.T
	home string
	port int // of the port mapper
	env  []string
}

// newWorld makes a world with a port mapper on a free port, or with the one that runs on port.
func newHome(t *testing.T, port int) *home {
	t.Helper()
	w := &home{t: t, home: sockdir.New(t), port: port}
	if port == 0 {
		m, err := mapper.Start(t.Context(), &epmd.Server{}, "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(m.Stop)
		_, p, err := net.SplitHostPort(m.Addr)
		require.NoError(t, err)
		w.port, err = strconv.Atoi(p)
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(w.home, ".erlang.cookie"), []byte(testCookie+"\n"), 0o400))
	w.env = []string{"HOME=" + w.home, "TMPDIR=" + w.home, "ERL_EPMD_PORT=" + strconv.Itoa(w.port), "SYSTEMROOT=" + os.Getenv("SYSTEMROOT"),
		"USERPROFILE=" + w.home, "TMP=" + w.home} // the last three are for Windows
	return w
}

func (w *home) run(args ...string) result {
	w.t.Helper()
	return execute(w.t, w.env, args...)
}

// succeed runs a command that must succeed and say nothing on its standard error, and gives its
// output.
func (w *home) succeed(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	require.Equal(w.t, result{exitOK, r.out, ""}, r)
	return r.out
}

// fail runs a command that must fail, and gives both its outputs.
func (w *home) fail(args ...string) (out, err string) {
	w.t.Helper()
	r := w.run(args...)
	require.Equal(w.t, exitFailed, r.code, r.err)
	return r.out, r.err
}

// config is that of a Go node.
func (w *home) config(alive string) nodes.Config {
	return nodes.Config{
		Name: alive + "@127.0.0.1", Cookie: testCookie,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(w.port)}},
	}
}

// node starts a Go node that ends with the test.
func (w *home) node(alive string) *nodes.Node {
	w.t.Helper()
	n, err := nodes.New(w.config(alive))
	require.NoError(w.t, err)
	require.NoError(w.t, n.Start(w.t.Context()))
	w.t.Cleanup(func() { require.NoError(w.t, n.Close()) })
	return n
}

// A served is a command that runs and has said that it is ready.
type served struct {
	t     *testing.T
	name  string
	place string
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	errOut bytes.Buffer
}

// Write takes the standard error.
func (s *served) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errOut.Write(b)
}

func (s *served) errors() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errOut.String()
}

// serve starts serve, or another command that says when it is ready.
func (w *home) serve(command string, args ...string) *served {
	t := w.t
	t.Helper()
	s := &served{t: t, ended: make(chan struct{}), cmd: exec.Command(program, append([]string{command}, args...)...)}
	s.cmd.Env, s.cmd.Stderr = append([]string{noPause}, w.env...), s
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	first := make(chan string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			select {
			case first <- lines.Text():
			default:
				fmt.Fprintln(s, "unexpected output:", lines.Text())
			}
		}
		_ = s.cmd.Wait() // ProcessState has it
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.ended
		if t.Failed() {
			t.Logf("%v said:\n%s", s.cmd, s.errors())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	select {
	case line := <-first:
		said := strings.Fields(line)
		require.Len(t, said, 3, line)
		require.Equal(t, "ready", said[0])
		s.name, s.place = said[1], said[2]
	case <-s.ended:
		require.FailNow(t, "it ended", "%v: %s", s.cmd.ProcessState, s.errors())
	case <-ctx.Done():
		require.FailNow(t, "not ready in time", "%v", s.cmd)
	}
	return s
}

// terminate ends the command as an operator does, and gives what it has said on its standard error.
func (s *served) terminate(sig syscall.Signal) string {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
	s.await()
	require.Zero(s.t, s.cmd.ProcessState.ExitCode(), s.errors())
	return s.errors()
}

func (s *served) await() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	select {
	case <-s.ended:
	case <-ctx.Done():
		require.FailNow(s.t, "it does not end", "%v", s.cmd)
	}
}

func (s *served) pid() int { return s.cmd.Process.Pid }
