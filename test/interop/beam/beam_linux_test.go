package beam

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// The package compiles without a warning, and its own tests pass.
func TestItsOwnTests(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		ebin := build(t, r, "src", "test")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		passes := func(module string, args ...string) {
			// a small limit, since a test opens all that there are
			cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -n 1024; exec "$0" "$@"`, r.Erl, "-noshell", "-pa", ebin,
				"-eval", module + ":run(), halt()."}, args...)...)
			cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", r.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1")
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			failed, ended := failures(string(out))
			require.Empty(t, failed, "%s", out)
			require.True(t, ended, "%s", out)
		}
		passes("cnode_sessions_tests")
		passes("cnode_node_tests")
		passes("cnode_node_tests", "-name", "eunit@127.0.0.1")
	})
}

// The Elixir half compiles without a warning, is formatted, documented, and passes its tests.
func TestItsElixirTests(t *testing.T) {
	t.Parallel()
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "beam"), os.DirFS("../../../beam/cnode")))
		for _, args := range []string{`"format", "--check-formatted"`, `"test", "--warnings-as-errors"`} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, e.Program, "-e", fmt.Sprintf(`File.cd!("%s/beam"); Mix.start(); Mix.CLI.main([%s])`, dir, args))
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+dir)
			if args[1] == 't' {
				cmd.Env = append(cmd.Env, "MIX_ENV=test")
			}
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	})
}

// A worker is killed again and again, at any moment. Where it looks at the input before it takes it
// no session is lost; each answer is the right one, once.
func TestKills(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for _, kind := range []string{"socket", "gen_tcp"} {
			t.Run(kind, func(t *testing.T) {
				many, kills := 200, 20
				if testing.Short() {
					many, kills = 40, 4
				}
				h := newHouse(t, r)
				w := h.worker(kind)
				c := clients(h.addr, many, 20*time.Millisecond)
				for k := range kills {
					before := c.answers.Load()
					require.Eventually(t, func() bool { return c.answers.Load()-before > int64(2*many+100*(k%4)) }, expect.Limit, time.Millisecond)
					w.Kill()
					w = h.worker(kind)
				}
				before := c.answers.Load()
				require.Eventually(t, func() bool { return c.answers.Load()-before > int64(2*many) }, expect.Limit, time.Millisecond)
				report := c.ends()
				s := h.k.Stats()
				t.Log(report, "; front: ", s)
				require.Zero(t, c.wrong.Load(), report)
				if kind == "socket" {
					require.Zero(t, c.broken.Load(), report)
					require.Zero(t, s.Reset)
				}
				require.Positive(t, s.Moved)
				h.until("all have ended", func(s front.Stats) bool { return s.Sessions == 0 })
			})
		}
	})
}

// A worker that retires gives all its sessions back, and none is lost.
func TestRetire(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newHouse(t, r)
		w := h.worker("socket")
		c := clients(h.addr, 20, 10*time.Millisecond)
		h.until("all are served", func(s front.Stats) bool { return s.Forwarded >= 20 && s.Points > 100 })
		next := h.worker("socket")
		require.Equal(t, "ok", w.Do(t, "line:stop(line_server)"))
		w.Stop(t)
		before := c.answers.Load()
		require.Eventually(t, func() bool { return c.answers.Load()-before > 100 }, expect.Limit, time.Millisecond)
		report := c.ends()
		require.Zero(t, c.broken.Load()+c.wrong.Load(), report)
		next.Close()
	})
}

// Sessions that are on their way when either side stops are served: here when the front does, by
// another worker when a worker's server does.
func TestOnTheirWay(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for _, end := range []string{"front", "server stops", "server is killed"} {
			t.Run(end, func(t *testing.T) {
				h := newHouse(t, r)
				w := h.worker("gen_tcp")
				const many = 20
				require.Equal(t, "ok", w.Do(t, "sys:suspend(line_server)"))
				c := clients(h.addr, many, time.Millisecond)
				h.until("all are on their way", func(s front.Stats) bool { return s.Forwarded == many })
				shut := make(chan error, 1)
				switch end {
				case "front":
					go func() { shut <- h.k.Shutdown(expect.Context(t)) }()
					require.Equal(t, "ok", w.Do(t, "sys:resume(line_server)"))
					require.NoError(t, <-shut)
				case "server stops":
					require.Equal(t, "ok", w.Do(t, "unlink(whereis(line_server)), gen_server:stop(line_server)"))
					h.worker("gen_tcp")
				default:
					require.Equal(t, "true", w.Do(t, "unlink(whereis(line_server)), exit(whereis(line_server), kill)"))
					h.worker("gen_tcp")
				}
				before := c.answers.Load()
				require.Eventually(t, func() bool { return c.answers.Load()-before > 5*many }, expect.Limit, time.Millisecond)
				report := c.ends()
				require.Zero(t, c.broken.Load()+c.wrong.Load(), report)
				require.Zero(t, h.k.Stats().Reset)
			})
		}
	})
}

// The front ends: sessions are served on, and the next front's come.
func TestFrontEnds(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newHouse(t, r)
		w := h.worker("gen_tcp")
		c := clients(h.addr, 10, 10*time.Millisecond)
		h.until("all are served", func(s front.Stats) bool { return s.Points > 50 })
		require.NoError(t, h.k.Close())
		before := c.answers.Load()
		require.Eventually(t, func() bool { return c.answers.Load()-before > 100 }, expect.Limit, time.Millisecond)
		report := c.ends()
		require.Zero(t, c.broken.Load()+c.wrong.Load(), report)
		again, err := front.New(nil)
		require.NoError(t, err)
		l, err := again.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, again.Workers(context.Background(), h.path))
		ended := make(chan error, 1)
		go func() { ended <- again.Serve(context.Background(), l, nil) }()
		c = clients(l.Addr().String(), 10, time.Millisecond)
		require.Eventually(t, func() bool { return c.answers.Load() > 100 }, expect.Limit, time.Millisecond)
		report = c.ends()
		require.Zero(t, c.broken.Load()+c.wrong.Load(), report)
		require.NoError(t, again.Close())
		require.ErrorIs(t, <-ended, net.ErrClosed)
		w.Close()
	})
}

// After many sessions neither side has a descriptor more than before.
func TestNoDescriptorIsLeft(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for _, kind := range []string{"gen_tcp", "socket"} {
			t.Run(kind, func(t *testing.T) {
				sessions := 30_000
				if testing.Short() {
					sessions = 2000
				}
				sessions = otp.Times("CNODE_TEST_BEAM_SESSIONS", sessions)
				h := newHouse(t, r)
				w := h.worker(kind)
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("at the end: %q and %q", descriptors(t, w.Pid()), descriptors(t, os.Getpid()))
					}
				})
				// a first session: before it the worker may not have the socket on which sessions come
				first, err := net.Dial("tcp", h.addr)
				require.NoError(t, err)
				require.NoError(t, first.Close())
				h.until("the worker has had a session", func(s front.Stats) bool { return s.Forwarded == 1 && s.Sessions == 0 })
				here, there := descriptors(t, os.Getpid()), descriptors(t, w.Pid())
				start := time.Now()
				turn := make(chan struct{}, 50)
				for range sessions {
					turn <- struct{}{}
					go func() {
						defer func() { <-turn }()
						if c, err := net.Dial("tcp", h.addr); err == nil {
							c.Close()
						}
					}()
				}
				for range cap(turn) {
					turn <- struct{}{}
				}
				// the kernel may drop who leaves while the backlog is full, and so nobody knows how many are
				// accepted: all are, once the last one is served
				last, err := net.Dial("tcp", h.addr)
				require.NoError(t, err)
				require.NoError(t, last.(*net.TCPConn).CloseWrite())
				_, err = io.Copy(io.Discard, last)
				require.NoError(t, err)
				require.NoError(t, last.Close())
				h.until("all are over", func(s front.Stats) bool { return s.Sessions == 0 && s.Beginning == 0 })
				t.Logf("%.0f sessions a second", float64(sessions)/time.Since(start).Seconds())
				// the front's connection to the worker has an epoll descriptor for each direction from
				// when that has had to wait first
				require.Eventually(t, func() bool {
					return len(descriptors(t, w.Pid())) <= len(there) && len(descriptors(t, os.Getpid())) <= len(here)+2
				},
					expect.Limit, time.Millisecond, "before: %q and %q", there, here)
				require.Equal(t, "0", w.Do(t, "maps:get(sessions, cnode_sessions:status(line_server))"))
			})
		}
	})
}

// Sessions of a Go forwarder in BIND 10's form, and to a Go receiver.
func TestBind10(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		ebin := build(t, r, "src")
		n := r.Start(t, otp.Options{Local: true, ExtraArgs: []string{"-pa", ebin}})
		dir := sockdir.New(t)
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		require.Equal(t, "ok", n.Do(t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode),
			{ok, S} = cnode_sessions:start_link(#{listen => "%s"}), {ok, F} = cnode_forwarder:start_link(#{path => "%s"}),
			register(server, S), register(forwarder, F), ok`, in, out)))
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		defer l.Close()
		receiver, err := net.ListenUnix("unix", &net.UnixAddr{Name: out, Net: "unix"})
		require.NoError(t, err)
		defer receiver.Close()
		f, err := bind10.NewForwarder(in)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), expect.Limit)
		defer cancel()
		require.NoError(t, f.Connect(ctx))
		defer f.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer client.Close()
		accepted, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, f.PushConn(accepted.(*net.TCPConn), []byte("\xC5from Go")))
		require.NoError(t, accepted.Close())
		require.Equal(t, "ok", n.Do(t, `{ok, X} = cnode_sessions:accept(server, 10000), {ok, <<16#C5, "from Go">>} = gen_tcp:recv(X, 8),
			ok = gen_tcp:send(X, "from Erlang"), ok = cnode_forwarder:push(forwarder, X, <<"to Go">>), cnode_sessions:close(X)`))
		p := make([]byte, 100)
		k, err := client.Read(p)
		require.NoError(t, err)
		require.Equal(t, "from Erlang", string(p[:k]))

		c, err := receiver.AcceptUnix()
		require.NoError(t, err)
		rec, err := bind10.NewReceiver(c, &bind10.ReceiverOptions{Acknowledge: true, Peer: func(handoff.Cred) error { return nil }})
		require.NoError(t, err)
		defer rec.Close()
		var s bind10.Session
		require.NoError(t, rec.Receive(ctx, &s))
		require.Equal(t, "to Go", string(s.Data))
		require.Equal(t, client.LocalAddr().String(), s.Remote.String())
		require.NoError(t, s.Close())
		require.Eventually(t, func() bool { return n.Do(t, "cnode_forwarder:untaken(forwarder)") == "0" }, expect.Limit, time.Millisecond)
		_, err = client.Read(p)
		require.Error(t, err) // nobody has it any more
	})
}
