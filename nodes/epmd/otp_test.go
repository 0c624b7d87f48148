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

// What a client asks, ours and OTP's port mapper answer alike, relaxed or not.
func TestClient(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprint("relaxed=", relaxed), func(t *testing.T) {
			t.Run("ours", func(t *testing.T) { aDay(t, startServer(t, &Server{Relaxed: relaxed}), relaxed, func() {}) })
			t.Run("real epmd", func(t *testing.T) {
				real := startRealEpmd(t, "", relaxedIf(relaxed)...)
				aDay(t, real.addr, relaxed, func() { <-real.ended })
			})
		})
	}
}

func relaxedIf(relaxed bool) (args []string) {
	if relaxed {
		args = append(args, "-relaxed_command_check")
	}
	return args
}

// aDay is what nodes ask of a port mapper; ended waits for its end, once it has been killed.
func aDay(t *testing.T, addr string, relaxed bool, ended func()) {
	ctx, c := t.Context(), &Client{Addr: addr}
	a := register(t, c, Registration{Name: "åäö", Port: 1234, Low: 5, Extra: []byte("x\x00y")})
	require.InDelta(t, time.Now().Unix(), a.Creation, 600)
	require.Equal(t, NodeInfo(a.Registration()), resolve(t, c, "åäö"))
	b := register(t, c, Registration{Name: "b", Port: 1235, Type: TypeNormal, High: 5})
	require.Contains(t, []uint32{1, 2, 3}, b.Creation)
	_, err := c.Resolve(ctx, "localhost", "c")
	require.ErrorIs(t, err, ErrNotRegistered)
	_, err = c.Register(ctx, Registration{Name: "b", Port: 1})
	require.ErrorIs(t, err, ErrNameTaken)
	port, names, err := c.Names(ctx, "")
	require.NoError(t, err)
	require.Equal(t, portOf(t, addr), fmt.Sprint(port))
	require.Equal(t, []NamePort{{"b", 1235}, {"åäö", 1234}}, names)

	if relaxed {
		require.NoError(t, c.Stop(ctx, "b"))
		<-b.Done()
		require.ErrorIs(t, b.Err(), ErrLost)
		require.ErrorIs(t, c.Stop(ctx, "b"), ErrNotRegistered)
	} else {
		require.ErrorIs(t, c.Stop(ctx, "b"), ErrNotAllowed)
		require.ErrorIs(t, c.Kill(ctx), ErrNotAllowed)
		require.NoError(t, b.Err())
	}
	require.NoError(t, b.Close())
	require.NoError(t, a.Close())
	again := register(t, c, Registration{Name: "åäö", Port: 1234})
	require.Equal(t, a.Creation+1, again.Creation)
	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, d.Active, 1)
	require.Equal(t, "åäö", d.Active[0].Name)
	require.Len(t, d.Unused, 1)
	require.Equal(t, uint16(1235), d.Unused[0].Port)
	require.Positive(t, d.Unused[0].FD)
	if relaxed {
		require.NoError(t, c.Kill(ctx), "even with a name registered")
		<-again.Done()
		require.ErrorIs(t, again.Err(), ErrLost)
		ended()
		_, _, err = c.Names(ctx, "")
		require.ErrorIs(t, err, ErrNoPortMapper)
	}
	require.NoError(t, again.Close())
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
	commands := func(t *testing.T, addr string, relaxed bool) (all []outcome) {
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
			theirs := commands(t, startRealEpmd(t, "", relaxedIf(relaxed)...).addr, relaxed)
			ours := commands(t, startServer(t, &Server{Relaxed: relaxed}), relaxed)
			require.Equal(t, theirs, ours)
			require.Contains(t, ours[1].stdout, "name b at port 1235\nname åäö at port 1234\n")
		})
	}
}
