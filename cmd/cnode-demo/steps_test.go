//go:build unix

package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	paces "github.com/cnode-go/cnode/internal/test/director"
)

// A director lets the processes of an upgrade go on from step to step, and acts at one of them.
type director struct{ *paces.Director }

func newDirector(t *testing.T) *director {
	t.Helper()
	return &director{paces.New(t)}
}

func (d *director) env() string { return "CNODE_TEST_STEPS=" + d.Addr() }

// inOrder reports whether the process that got the node, if one did, has come to its own end.
func (d *director) inOrder() bool {
	seen := d.Seen()
	for _, s := range seen {
		if s.Name == string(handoffpoint.HeirOwns) {
			return slices.Contains(seen, paces.Step{Process: s.Process, Name: lastStep})
		}
	}
	return true
}

// started has the service start, and waits until it has come to the last step of that.
func (d *director) started(t *testing.T, start func()) {
	t.Helper()
	d.Await("", nil)
	start()
	d.Until(t, "serve: announced")
}

// every stops what happens at each of its steps; if it is to be short, at every fourth one,
// beginning with that number, so that four that begin elsewhere have them all, and at the crucial
// ones.
func (d *director) every(t *testing.T, first int, happens func(), stop func(step string)) {
	t.Helper()
	happens()
	steps := d.Names()
	require.Greater(t, len(steps), 30, steps)
	if testing.Short() {
		steps = some(steps, first)
	}
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

// some are the steps of which there is one in four, the first of each kind, and those between which
// the node becomes the other process's.
func some(steps []string, first int) (list []string) {
	known := map[string]bool{}
	for i, step := range steps {
		kind, _, _ := strings.Cut(step, ":")
		crucial := slices.Contains([]handoffpoint.Point{handoffpoint.OwnerFrozen, handoffpoint.OwnerCommitted,
			handoffpoint.HeirOwns}, handoffpoint.Point(step))
		if i%4 == first || crucial || !known[kind] || i == len(steps)-1 {
			list = append(list, step)
		}
		known[kind] = true
	}
	return list
}

// stopsVariable is the environment variable by which test/soak.sh says how often everything is
// stopped at each step.
const stopsVariable = "CNODE_STOPS"

const lastStep = "serve: ends"

// Whoever tells the process that it knows to end, at any step of an upgrade, ends the node: that
// process, and the one that follows it if it has the node by then. The signal comes to that process
// alone, or to all of them, as from a terminal.
func TestSignalDuringUpgrade(t *testing.T) {
	w, d := newHome(t, 0), newDirector(t)
	w.job = true
	w.env = append(w.env, d.env())
	serve := func() (s *successive) {
		d.started(t, func() { s = w.successive(nil, program, "serve", "--name", "up@127.0.0.1") })
		return s
	}
	for i, tt := range []struct {
		signal syscall.Signal
		toAll  bool
	}{{syscall.SIGTERM, false}, {syscall.SIGTERM, true}, {syscall.SIGINT, true}, {syscall.SIGHUP, false}} {
		d.every(t, i, func() {
			s := serve()
			d.Await("", nil)
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
			d.During(t, step, func() { w.run("upgrade", s.name) }, func(int) { assert.NoError(t, syscall.Kill(to, tt.signal)) })
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
