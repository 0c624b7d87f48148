package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// begun starts a successor that is a script, with a service manager or without, and gives it when
// the script has said that it runs.
func begun(t *testing.T, manager, script string) *Successor {
	t.Helper()
	under(t, manager)
	file := filepath.Join(t.TempDir(), "begun")
	script += "\n: >" + file + "\nwhile :; do sleep 0.01; done"
	s := &Successor{Cmd: exec.Command("/bin/sh", "-c", script)}
	require.NoError(t, s.start())
	t.Cleanup(func() { s.giveUp() })
	require.Eventually(t, func() bool { return os.Remove(file) == nil }, time.Minute, time.Millisecond)
	return s
}

// Under a service manager a successor is the manager's child, and otherwise this process's.
func TestSuccessorIsChildOfManager(t *testing.T) {
	for manager, want := range map[string]int{"/nowhere": os.Getppid(), "": os.Getpid()} {
		s := begun(t, manager, "")
		stat := expect.NoError(os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Cmd.Process.Pid))).In(t)
		require.Equal(t, strconv.Itoa(want), strings.Fields(string(stat))[3], "its parent; see proc_pid_stat(5)")
	}
}

// A successor that has not taken over is ended, and what it has done by itself is told.
func TestSuccessorGivenUp(t *testing.T) {
	for _, manager := range []string{"/nowhere", ""} {
		s := begun(t, manager, "")
		require.Empty(t, s.giveUp())
		under(t, manager)
		s = &Successor{Cmd: exec.Command("/bin/sh", "-c", "exit 3")}
		require.NoError(t, s.start())
		require.True(t, hasEnded(s.Cmd.Process, -1))
		require.NotEmpty(t, s.giveUp())
	}
}

// Whoever tells the old process to end tells the node: the old one passes it on, and ends after the
// other, unless there is a manager that has both.
func TestStopReachesSuccessor(t *testing.T) {
	for _, manager := range []string{"/nowhere", ""} {
		ended := filepath.Join(t.TempDir(), "ended")
		s := begun(t, manager, "trap 'sleep 0.2; : >"+ended+"; exit' TERM")
		under(t, manager)
		_ = s.Follow(t.Context()) // no manager listens
		require.NoError(t, s.Cmd.Process.Signal(syscall.Signal(0)), "nobody has told this process to end")
		stopped, stop := context.WithCancel(t.Context())
		stop()
		_ = s.Follow(stopped)
		if manager == "" {
			require.FileExists(t, ended)
		}
		require.Eventually(t, func() bool { return os.Remove(ended) == nil }, time.Minute, time.Millisecond)
	}
}

// A SIGHUP during an upgrade in place is for the program that follows, even if Run has taken it and
// not looked at it yet; one before is what the upgrade is for.
func TestHungUp(t *testing.T) {
	t.Setenv(againVariable, "yes")
	s := &Service{owner: &plain{}}
	s.hear()
	defer s.release()
	<-s.upgrades // as the program before has said
	hangUp := func() {
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		<-s.upgrades
		hearPending(s.upgradeOn())
	}
	hangUp()
	done := expect.NoError(s.begin()).In(t)
	defer done()
	require.False(t, s.hungUp())
	hangUp()
	require.True(t, s.hungUp())
}
