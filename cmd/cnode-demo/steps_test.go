//go:build unix

package main

import (
	"bufio"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A director lets the processes of an upgrade go on from step to step, and acts at one of them.
type director struct {
	l net.Listener

	mu   sync.Mutex
	seen []reached
	at   string
	act  func()
}

// A reached is a step to which a process has come.
type reached struct{ pid, step string }

func newDirector(t *testing.T) *director {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &director{l: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); d.hear(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return d
}

func (d *director) env() string { return "CNODE_TEST_STEPS=" + d.l.Addr().String() }

// hear keeps the process that has connected where it is until the test has acted.
func (d *director) hear(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	pid, step, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil {
		return
	}
	d.mu.Lock()
	d.seen = append(d.seen, reached{pid, step})
	var act func()
	if d.at == step {
		act, d.act = d.act, nil
	}
	d.mu.Unlock()
	if act != nil {
		act()
	}
}

// await has act happen at a step, for the first time that it is reached from now on.
func (d *director) await(step string, act func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.at, d.act = nil, step, act
}

// steps are those that have been reached since await, each once.
func (d *director) steps() (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.seen {
		if !slices.Contains(list, s.step) {
			list = append(list, s.step)
		}
	}
	return list
}

// inOrder reports whether the process that got the node, if one did, has come to its own end.
func (d *director) inOrder() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.seen {
		if s.step == string(handoff.HeirOwns) {
			return slices.Contains(d.seen, reached{s.pid, lastStep})
		}
	}
	return true
}

// started has the service start, and waits until it has come to the last step of that.
func (d *director) started(t *testing.T, start func()) {
	t.Helper()
	d.await("", nil)
	start()
	require.Eventually(t, func() bool { return slices.Contains(d.steps(), "serve: announced") }, waitLimit, time.Millisecond)
}

// every stops what happens at each of its steps.
func (d *director) every(t *testing.T, happens func(), stop func(step string)) {
	t.Helper()
	happens()
	steps := d.steps()
	require.Greater(t, len(steps), 30, steps)
	times, err := strconv.Atoi(os.Getenv(stopsVariable))
	if err != nil {
		times = 1
	}
	began := time.Now()
	for range times {
		for _, step := range steps {
			stop(step)
		}
	}
	t.Logf("%d stops at each of %d steps in %v", times, len(steps), time.Since(began))
}

// during has act happen at a step of what happens, and waits for both.
func (d *director) during(t *testing.T, step string, happens, act func()) {
	t.Helper()
	acted := make(chan struct{})
	d.await(step, func() { defer close(acted); act() })
	happens()
	select {
	case <-acted:
	case <-time.After(waitLimit):
		require.FailNow(t, "not reached", step)
	}
}

// stopsVariable is the environment variable by which test/soak.sh says how often everything is
// stopped at each step.
const stopsVariable = "CNODE_STOPS"

const lastStep = "serve: ends"

// Whoever tells the process that it knows to end, at any step of an upgrade, ends the node: that
// process, and the one that follows it if it has the node by then. The signal comes to that process
// alone, or to all of them, as from a terminal.
func TestSignalDuringUpgrade(t *testing.T) {
	w, d := newWorld(t, 0), newDirector(t)
	w.job = true
	w.env = append(w.env, d.env())
	serve := func() (s *successive) {
		d.started(t, func() { s = w.successive(nil, program, "serve", "--name", "up@127.0.0.1") })
		return s
	}
	for _, tt := range []struct {
		signal syscall.Signal
		toAll  bool
	}{{syscall.SIGTERM, false}, {syscall.SIGTERM, true}, {syscall.SIGINT, true}, {syscall.SIGHUP, false}} {
		d.every(t, func() {
			s := serve()
			d.await("", nil)
			pid := s.upgrade(s.cmd.Process.Pid)
			s.exits()
			require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
			<-s.over
		}, func(step string) {
			if step == lastStep { // it has ended, as for a signal that comes a moment later
				return
			}
			s := serve()
			to := s.cmd.Process.Pid
			if tt.toAll {
				to = -to
			}
			d.during(t, step, func() { w.run("upgrade", s.name) }, func() { assert.NoError(t, syscall.Kill(to, tt.signal)) })
			s.exits()
			select {
			case <-s.over:
			case <-time.After(waitLimit):
				require.FailNow(t, "it serves on", "%+v at %q", tt, step)
			}
			require.True(t, d.inOrder(), "%+v at %q", tt, step)
		})
	}
}
