package epmd

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/port"
)

// The tests here run against the epmd and erl found on the PATH.

// otpEnv is the environment of such a program: a home and a cookie of its own, and no settings of
// the machine's.
func otpEnv(t *testing.T, port string) []string {
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("epmdtest"), 0o400))
	env := []string{"HOME=" + home, "ERL_EPMD_PORT=" + port}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ERL_") && !strings.HasPrefix(kv, "HOME=") && !strings.HasPrefix(kv, "ESCRIPT") {
			env = append(env, kv)
		}
	}
	return env
}

// portOf gives the port of host:port.
func portOf(t *testing.T, addr string) string {
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

// realEpmd is a running epmd of OTP.
type realEpmd struct {
	addr  string
	kill  func()        // ends it, and waits
	ended chan struct{} // closed when it has ended
}

// startRealEpmd runs an epmd on a free port, or on that of addr when it is not empty, until the
// test ends.
func startRealEpmd(t *testing.T, addr string, args ...string) *realEpmd {
	t.Helper()
	path := need.Program(t, "epmd")
	for range 20 { // where a port cannot be reserved for it, another program may take it first
		at := addr
		if at == "" {
			at = port.Vacant(t)
		}
		cmd := exec.Command(path, append([]string{"-port", portOf(t, at), "-address", "127.0.0.1"}, args...)...)
		cmd.Env = otpEnv(t, portOf(t, at))
		require.NoError(t, cmd.Start())
		ended := make(chan struct{})
		go func() {
			cmd.Wait() // how it ended says nothing: it is killed
			close(ended)
		}()
		kill := func() {
			cmd.Process.Kill()
			<-ended
		}
		t.Cleanup(kill)
		for {
			_, _, err := (&Client{Addr: at}).Names(t.Context(), "")
			if err == nil {
				return &realEpmd{at, kill, ended}
			}
			require.ErrorIs(t, err, ErrNoPortMapper)
			select {
			case <-ended:
			case <-time.After(5 * time.Millisecond):
				continue
			}
			break
		}
	}
	t.Fatal("no epmd could be started")
	return nil
}

func TestClientWithRealEpmd(t *testing.T) {
	before := uint32(time.Now().Unix()) // it counts from its start
	real := startRealEpmd(t, "", "-relaxed_command_check")
	ctx := t.Context()
	c := &Client{Addr: real.addr}
	a, err := c.Register(ctx, Registration{Name: "åäö", Port: 1234, Extra: []byte("x\x00y")})
	require.NoError(t, err)
	require.Greater(t, a.Creation, before)
	b, err := c.Register(ctx, Registration{Name: "b", Port: 1235, Type: TypeNormal, High: 5})
	require.NoError(t, err)
	require.Contains(t, []uint32{1, 2, 3}, b.Creation)

	info, err := c.Resolve(ctx, "", "åäö")
	require.NoError(t, err)
	require.Equal(t, NodeInfo(a.Registration()), info)
	_, err = c.Resolve(ctx, "localhost", "c")
	require.ErrorIs(t, err, ErrNotRegistered)
	_, err = c.Register(ctx, Registration{Name: "b", Port: 1})
	require.ErrorIs(t, err, ErrNameTaken)

	port, names, err := c.Names(ctx, "")
	require.NoError(t, err)
	require.Equal(t, portOf(t, real.addr), fmt.Sprint(port))
	require.Equal(t, []NamePort{{"b", 1235}, {"åäö", 1234}}, names)

	require.NoError(t, c.Stop(ctx, "b"))
	<-b.Done()
	require.ErrorIs(t, b.Err(), ErrLost)
	require.ErrorIs(t, c.Stop(ctx, "b"), ErrNotRegistered)
	d, err := c.Dump(ctx)
	require.NoError(t, err)
	require.Len(t, d.Active, 1)
	require.Equal(t, "åäö", d.Active[0].Name)
	require.Len(t, d.Unused, 1)
	require.Equal(t, uint16(1235), d.Unused[0].Port)

	require.NoError(t, a.Close())
	again, err := c.Register(ctx, Registration{Name: "åäö", Port: 1234})
	require.NoError(t, err)
	require.Equal(t, a.Creation+1, again.Creation)
	require.NoError(t, c.Kill(ctx))
	<-again.Done()
	<-real.ended
	require.NoError(t, b.Close())
	require.NoError(t, again.Close())
	_, _, err = c.Names(ctx, "")
	require.ErrorIs(t, err, ErrNoPortMapper)
}

// A real epmd may hear of a connection's end after it has heard the next request, so Close waits
// until it has.
func TestRealEpmdNeverRefusesANameJustGivenUp(t *testing.T) {
	c := &Client{Addr: startRealEpmd(t, "").addr}
	var last uint32
	for range 300 {
		k := keep(t, c, Registration{Name: "abc", Port: 1}, nil)
		if last != 0 {
			require.Equal(t, last+1, k.Creation())
		}
		last = k.Creation()
		begin := time.Now()
		require.NoError(t, k.Close())
		// epmd had no processor for that long: Close could not wait for it
		if time.Since(begin) >= farewell {
			require.Eventually(t, func() bool {
				_, err := c.Resolve(t.Context(), "", "abc")
				return errors.Is(err, ErrNotRegistered)
			}, 10*time.Second, time.Millisecond)
		}
	}
}

func TestClientWithStrictRealEpmd(t *testing.T) {
	c := &Client{Addr: startRealEpmd(t, "").addr}
	r := register(t, c, Registration{Name: "a", Port: 1})
	require.ErrorIs(t, c.Stop(t.Context(), "a"), ErrNotAllowed)
	require.ErrorIs(t, c.Kill(t.Context()), ErrNotAllowed)
	require.NoError(t, r.Err())
	require.NoError(t, r.Close())
}

func TestKeepOverARestartOfRealEpmd(t *testing.T) {
	real := startRealEpmd(t, "")
	c := &Client{Addr: real.addr}
	events := make(chan KeepEvent, 1000)
	k := keep(t, c, Registration{Name: "a", Port: 1}, &KeepOptions{
		MinPause: time.Millisecond, MaxPause: 10 * time.Millisecond, Notify: func(e KeepEvent) { events <- e },
	})
	real.kill()
	require.ErrorIs(t, (<-events).Err, ErrLost)
	startRealEpmd(t, real.addr)
	for e := range events {
		if e.Err == nil {
			break
		}
	}
	info := resolve(t, c, "a")
	require.Equal(t, uint16(1), info.Port)
	require.NoError(t, k.Close())
}

func TestRealEpmdCommandsOnServer(t *testing.T) {
	path := need.Program(t, "epmd")
	type outcome struct{ command, stdout, stderr, code string }
	run := func(t *testing.T, addr string, args ...string) outcome {
		cmd := exec.Command(path, append([]string{"-port", portOf(t, addr)}, args...)...)
		cmd.Env = otpEnv(t, portOf(t, addr))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		require.True(t, err == nil || errors.As(err, &exit), "%v", err)
		text := strings.ReplaceAll(stdout.String(), portOf(t, addr), "PORT")
		text = regexp.MustCompile(`fd = \d+`).ReplaceAllString(text, "fd = FD")
		return outcome{strings.Join(args, " "), text, stderr.String(), fmt.Sprint(cmd.ProcessState.ExitCode())}
	}
	session := func(t *testing.T, addr string, relaxed bool) (all []outcome) {
		c := &Client{Addr: addr}
		do := func(args ...string) { all = append(all, run(t, addr, args...)) }
		do("-names")
		a := register(t, c, Registration{Name: "åäö", Port: 1234})
		b := register(t, c, Registration{Name: "b", Port: 1235})
		do("-names")
		do("-dump")
		do("-stop", "b")
		do("-stop", "nobody")
		if !relaxed {
			do("-kill")
		}
		require.NoError(t, b.Close())
		_, _, err := c.Names(t.Context(), "") // by then a real epmd has seen the end
		require.NoError(t, err)
		do("-dump")
		if !relaxed {
			require.NoError(t, a.Close())
			_, _, err = c.Names(t.Context(), "")
			require.NoError(t, err)
		}
		do("-kill")
		require.Eventually(t, func() bool { // the real one says "Killed" before it is gone
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		}, 10*time.Second, time.Millisecond)
		do("-names")
		require.NoError(t, a.Close())
		return all
	}
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprint("relaxed=", relaxed), func(t *testing.T) {
			var args []string
			if relaxed {
				args = []string{"-relaxed_command_check"}
			}
			theirs := session(t, startRealEpmd(t, "", args...).addr, relaxed)
			ours := session(t, startServer(t, &Server{Relaxed: relaxed}), relaxed)
			require.Equal(t, theirs, ours)
			require.Contains(t, ours[1].stdout, "name b at port 1235\nname åäö at port 1234\n")
		})
	}
}
