package upgrade_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// controlled begins a service with a control socket.
func controlled(t *testing.T, env ...string) (r *run, control string) {
	t.Helper()
	control = filepath.Join(sockdir.New(t), "service", "control")
	return begin(t, append(env, role+"_CONTROL="+control)...), control
}

// Who asks hears which process was the node, and which is it now; the socket goes on with the node.
func TestAsk(t *testing.T) {
	t.Parallel()
	r, control := controlled(t)
	first := r.pid()
	for i := range 3 {
		require.Equal(t, i+1, r.add(1))
		asked, err := service.Ask(expect.Context(t), control, "")
		require.NoError(t, err)
		r.hears(fmt.Sprint("left ", first))
		require.Equal(t, service.Asked{Old: first, New: r.pid()}, asked)
		require.NotEqual(t, asked.Old, asked.New)
		first = asked.New
	}
	require.NoError(t, r.c.Err())
	r.signal(first, syscall.SIGTERM)
	r.hears(fmt.Sprint("left ", first))
	require.NoFileExists(t, control)
	_, err := service.Ask(expect.Context(t), control, "")
	require.ErrorIs(t, err, service.ErrNobody)
}

// Who asks for an upgrade that fails hears why, and the node stays.
func TestAskInVain(t *testing.T) {
	t.Parallel()
	r, control := controlled(t)
	first := r.pid()
	for _, program := range []string{"/no/program", "/bin/false"} {
		asked, err := service.Ask(expect.Context(t), control, program)
		require.ErrorAs(t, err, new(*handoff.RefusedError))
		require.ErrorContains(t, err, fmt.Sprintf("process %d serves on: ", first))
		require.ErrorContains(t, err, program)
		require.Equal(t, service.Asked{Old: first}, asked)
		require.Equal(t, first, r.pid())
	}
	require.NoError(t, r.c.Err())
}

// Allow decides on each hand-off, whoever wants it.
func TestAllow(t *testing.T) {
	t.Parallel()
	r, control := controlled(t, role+"_BUSY=not now")
	first := r.pid()
	_, err := service.Ask(expect.Context(t), control, "")
	require.ErrorContains(t, err, "serves on: not now")
	require.ErrorContains(t, r.takesOver(control), "not now")
	r.signal(first, syscall.SIGHUP)
	require.Equal(t, first, r.pid())
	require.NoError(t, r.c.Err())
}

// takesOver is why this process cannot take the node over.
func (r *run) takesOver(control string) error {
	ch, err := handoff.ConnectControl(expect.Context(r.t), control)
	if err != nil {
		return err
	}
	defer ch.Close()
	_, err = (&handoff.Acceptance{Stage: func(context.Context, []byte, []int) (handoff.Staged, error) {
		return nil, errors.New("it is not to come so far")
	}}).Take(expect.Context(r.t), ch)
	return err
}

// A process that others have started takes the node over, and then its socket is there.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	r, control := controlled(t)
	first := r.pid()
	require.Equal(t, 1, r.add(1))
	next := r.again(role+"_CONTROL="+control, role+"_TAKE=yes")
	r.hears(fmt.Sprint("left ", first))
	require.Equal(t, next, r.pid())
	require.Equal(t, 2, r.add(1))
	require.NoError(t, r.c.Err())
	asked, err := service.Ask(expect.Context(t), control, "") // whose arguments are those of the next
	require.NoError(t, err)
	require.Equal(t, next, asked.Old)
	require.Equal(t, 3, r.add(1))
}

// A socket that somebody removes comes back, with its directory.
func TestControlComesBack(t *testing.T) {
	t.Parallel()
	r, control := controlled(t)
	for range 2 {
		require.NoError(t, os.RemoveAll(filepath.Dir(control)))
		_ = askOnceThere(t, control, "")
		r.hears("left")
	}
}

// askOnceThere asks for an upgrade as soon as somebody listens.
func askOnceThere(t *testing.T, control, program string) service.Asked {
	t.Helper()
	for ctx := expect.Context(t); ; time.Sleep(time.Millisecond) {
		asked, err := service.Ask(ctx, control, program)
		if err == nil {
			return asked
		}
		// a socket is in its directory before anybody listens
		require.True(t, errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED), "%v", err)
	}
}

// A new program that has its socket elsewhere, or none, leaves none behind.
func TestControlMoves(t *testing.T) {
	t.Parallel()
	r, control := controlled(t)
	other := filepath.Join(sockdir.New(t), "control")
	next := filepath.Join(t.TempDir(), "next")
	script := fmt.Sprintf("#!/bin/sh\n%s_CONTROL=%s exec %q\n", role, other, os.Args[0])
	require.NoError(t, os.WriteFile(next, []byte(script), 0o700))
	_, err := service.Ask(expect.Context(t), control, next)
	require.NoError(t, err)
	r.hears("left")
	require.Eventually(t, func() bool { _, err := os.Lstat(control); return errors.Is(err, os.ErrNotExist) }, expect.Limit, time.Millisecond)
	require.NotZero(t, askOnceThere(t, other, os.Args[0]).New)
	require.Equal(t, 1, r.add(1))
}

// The conventional place is private.
func TestControlPath(t *testing.T) {
	dir := sockdir.New(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	require.Equal(t, filepath.Join(dir, "cnode", "a%2Fb@host", "control"), service.ControlPath("a/b@host"))
	t.Setenv("XDG_RUNTIME_DIR", "")
	require.Equal(t, filepath.Join(os.TempDir(), fmt.Sprintf("cnode-%d", os.Getuid()), "x@host", "control"), service.ControlPath("x@host"))
}
