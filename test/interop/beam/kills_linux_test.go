package beam

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

//go:embed testdata/cnode_steps.erl
var steps string

// A deed is what makes a worker pass a step.
type deed string

const (
	comes   deed = "a client comes"
	asks    deed = "a client asks"
	splits  deed = "a client asks in parts"
	leaves  deed = "a client leaves"
	retires deed = "the worker retires"
	stops   deed = "the application stops"
)

// A cell is a step of the Erlang package at which somebody is killed.
type cell struct {
	kind string
	step string
	does deed
	lost bool // the session does not stand at a point there
}

func (c cell) String() string { return fmt.Sprintf("%s, %s, %s", c.kind, c.does, c.step) }

// cells are all steps: of forward and adopt, point and answer, close, and retire.
func cells() (all []cell) {
	for _, kind := range []string{"socket", "gen_tcp"} {
		for _, step := range []string{"came", "noted", "opened", "adopted", "given", "taken"} {
			all = append(all, cell{kind: kind, step: step, does: comes})
		}
		for _, step := range []string{"closes", "closed", "said"} {
			all = append(all, cell{kind: kind, step: step, does: leaves}, cell{kind: kind, step: step, does: stops})
		}
		for _, step := range []string{"retires", "retired"} {
			all = append(all, cell{kind: kind, step: step, does: retires})
		}
		for _, step := range []string{"answers", "told", "sent"} {
			all = append(all, cell{kind: kind, step: step, does: asks})
		}
	}
	return append(all, cell{kind: "socket", step: "took", does: asks}, cell{kind: "socket", step: "pointed", does: splits},
		cell{kind: "gen_tcp", step: "read", does: asks, lost: true}, cell{kind: "gen_tcp", step: "pointed", does: asks},
		cell{kind: "gen_tcp", step: "pointed", does: splits})
}

// A caller sends lines, and checks each answer.
type caller struct {
	net.Conn
	r     *bufio.Reader
	count int
}

func call(t *testing.T, addr string) *caller {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(expect.Limit))
	return &caller{Conn: c, r: bufio.NewReader(c)}
}

func (c *caller) ask() error {
	if _, err := fmt.Fprintf(c, "%d\n", 1000+c.count); err != nil {
		return err
	}
	return c.answer()
}

func (c *caller) answer() error {
	c.count++
	got, err := c.r.ReadString('\n')
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%d %d\n", 999+c.count, c.count); got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// act makes a worker that is armed pass the step, and returns how to see what becomes of it.
func act(t *testing.T, x cell, addr string, w *otp.Node, at string) (c *caller) {
	t.Helper()
	arm := func() {
		require.Equal(t, "ok", w.Do(t, fmt.Sprintf(`cnode_steps:arm(%s, 1, "%s")`, x.step, at)))
	}
	if x.does == comes {
		arm()
		c = call(t, addr)
		_, err := fmt.Fprintf(c, "%d\n", 1000)
		require.NoError(t, err)
	} else {
		c = call(t, addr)
		require.NoError(t, c.ask())
		arm()
	}
	var err error
	switch x.does {
	case asks:
		_, err = fmt.Fprintf(c, "%d\n", 1000+c.count)
	case splits:
		_, err = fmt.Fprint(c, "10")
	case leaves:
		err = c.Conn.(*net.TCPConn).CloseWrite()
	case retires:
		require.Equal(t, "ok", w.Do(t, "spawn(fun() -> line:stop(line_server) end), ok"))
	case stops:
		require.Equal(t, "ok", w.Do(t, "spawn(fun() -> application:stop(cnode) end), ok"))
	}
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := os.Stat(at)
		return err == nil
	}, expect.Limit, time.Millisecond, "the worker does not come to this step")
	if x.does == splits {
		_, err = fmt.Fprintf(c, "%02d\n", c.count)
		require.NoError(t, err)
	}
	return c
}

// A worker is killed at each of its steps. The next one goes on at the exact byte, and the front
// has no descriptor more than before.
func TestKillAtEachStep(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newFront(t)
		h.r, h.ebin = r, buildSteps(t, r)
		dir := t.TempDir()
		sockets := func() (n int) {
			for _, d := range descriptors(t, os.Getpid()) {
				if strings.Contains(d, "socket:") {
					n++
				}
			}
			return n
		}
		alone := sockets()
		for i, x := range need.Sample(t, 8, cells()) {
			t.Run(x.String(), func(t *testing.T) {
				before := h.k.Stats()
				w := h.worker(x.kind)
				c := act(t, x, h.addr, w, filepath.Join(dir, fmt.Sprint(i)))
				if x.lost {
					w.Kill()
					require.ErrorIs(t, c.answer(), syscall.ECONNRESET, "not the end of an answer")
					h.until("it is over", func(s front.Stats) bool { return s.Reset == before.Reset+1 && s.Sessions == 0 && len(s.Workers) == 0 })
					return
				}
				w.Kill()
				next := h.worker(x.kind)
				if x.does == leaves {
					_, err := c.r.ReadByte()
					require.ErrorIs(t, err, io.EOF)
				} else {
					if x.does == comes || x.does == asks || x.does == splits {
						require.NoError(t, c.answer(), x.step)
					}
					require.NoError(t, c.ask())
					require.NoError(t, c.ask())
				}
				require.NoError(t, c.Close())
				h.until("the session is over", func(s front.Stats) bool { return s.Sessions == 0 })
				next.Kill()
				h.until("nobody is there", func(s front.Stats) bool { return len(s.Workers) == 0 })
				require.Equal(t, before.Reset, h.k.Stats().Reset)
			})
		}
		require.Eventually(t, func() bool { return sockets() <= alone }, expect.Limit, time.Millisecond, "%q", descriptors(t, os.Getpid()))
	})
}

// A worker is killed while it forwards a session to a Go receiver: at first another worker goes on,
// then nobody, in the end the receiver. Never two of them.
func TestKillAtForward(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newFront(t)
		h.r, h.ebin = r, buildSteps(t, r)
		dir := sockdir.New(t)
		out := filepath.Join(dir, "out")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: out, Net: "unix"})
		require.NoError(t, err)
		defer l.Close()
		for _, step := range []string{"gives", "given_away", "pushed"} {
			t.Run(step, func(t *testing.T) {
				at := filepath.Join(dir, step)
				w := h.r.Start(t, otp.Options{Local: true, ExtraArgs: []string{"-pa", h.ebin}})
				w.Load(t, line)
				require.Equal(t, "ok", w.Do(t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode),
					{ok, F} = cnode_forwarder:start_link(#{path => "%s"}), register(forwarder, F),
					register(line_server, line:start("%s", gen_tcp, 0)), cnode_steps:arm(%s, 1, "%s")`, out, h.path, step, at)))
				before := h.k.Stats()
				c := call(t, h.addr)
				_, err := fmt.Fprintf(c, "%d\n", 1000)
				require.NoError(t, err)
				require.Equal(t, "ok", w.Do(t, `spawn(fun() -> {ok, S} = cnode_sessions:accept(line_server, infinity), {ok, D} = gen_tcp:recv(S, 5),
					ok = cnode_sessions:received(S, D), cnode_forwarder:push(forwarder, S, D) end), ok`))
				require.Eventually(t, func() bool {
					_, err := os.Stat(at)
					return err == nil
				}, expect.Limit, time.Millisecond)
				w.Kill()
				h.until("it is settled", func(s front.Stats) bool { return len(s.Workers) == 0 })
				switch step {
				case "gives":
					next := h.worker("gen_tcp")
					require.NoError(t, c.answer())
					require.NoError(t, c.Close())
					h.until("it is over", func(s front.Stats) bool { return s.Sessions == 0 })
					next.Kill()
					h.until("nobody is there", func(s front.Stats) bool { return len(s.Workers) == 0 })
				case "given_away":
					require.ErrorIs(t, c.answer(), syscall.ECONNRESET)
				case "pushed":
					conn, err := l.AcceptUnix()
					require.NoError(t, err)
					rec, err := bind10.NewReceiver(conn, nil)
					require.NoError(t, err)
					defer rec.Close()
					var s bind10.Session
					require.NoError(t, rec.Receive(expect.Context(t), &s))
					require.Equal(t, "1000\n", string(s.Data))
					f, err := s.Socket.File(0, "session")
					require.NoError(t, err)
					_, err = f.WriteString("1000 1\n")
					require.NoError(t, err)
					require.NoError(t, c.answer())
					require.NoError(t, f.Close())
					require.NoError(t, s.Close())
					_, err = c.r.ReadByte()
					require.Error(t, err, "nobody has it any more")
				}
				after := h.k.Stats()
				require.Zero(t, after.Sessions)
				require.Equal(t, step != "gives", after.Reset > before.Reset)
			})
		}
	})
}

const frontVariable = "CNODE_TEST_BEAM_FRONT" // the workers' path

// frontMain is a front in a process of its own. It says where clients come, its numbers for each
// line that it gets, and ends with its standard input.
func frontMain(path string) error {
	k, err := front.New(nil)
	if err != nil {
		return err
	}
	l, err := k.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- k.Serve(context.Background(), l, nil) }()
	if err := k.Workers(context.Background(), path); err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for asked := bufio.NewScanner(os.Stdin); err == nil && asked.Scan(); {
		err = json.NewEncoder(os.Stdout).Encode(k.Stats())
	}
	err = errors.Join(err, k.Close())
	if e := <-ended; !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// A frontProcess is a front in a process of its own.
type frontProcess struct {
	addr string
	pid  int
	in   io.WriteCloser
	out  *bufio.Reader
	kill func()
}

func startFront(t *testing.T, path string) *frontProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), frontVariable+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	f := &frontProcess{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	})}
	t.Cleanup(f.kill)
	addr, err := f.out.ReadString('\n')
	require.NoError(t, err)
	f.addr = strings.TrimSpace(addr)
	return f
}

func (f *frontProcess) stats() (s front.Stats) {
	if _, err := io.WriteString(f.in, "\n"); err == nil {
		line, _ := f.out.ReadBytes('\n')
		_ = json.Unmarshal(line, &s)
	}
	return s
}

// The front is killed at each step of a worker: the session goes on with the worker, exactly, and
// the worker has no descriptor more than before.
func TestFrontIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := &house{t: t, path: filepath.Join(sockdir.New(t), "front"), r: r}
		h.ebin = buildSteps(t, r)
		dir := t.TempDir()
		f := startFront(t, h.path)
		var w *otp.Node // nil: none
		var kind string
		var base []string
		is := func(what, value string) {
			require.Eventually(t, func() bool { return w.Do(t, "maps:get("+what+", cnode_sessions:status(line_server))") == value },
				expect.Limit, time.Millisecond, "%s is not %s", what, value)
		}
		byKind := func(a, b cell) int { return strings.Compare(a.kind, b.kind) }
		for i, x := range slices.SortedStableFunc(slices.Values(need.Sample(t, 12, cells())), byKind) {
			t.Run(x.String(), func(t *testing.T) {
				if w != nil && kind != x.kind {
					w.Kill()
					w = nil
				}
				if w == nil {
					w, kind = h.worker(x.kind), x.kind
					c := call(t, f.addr)
					require.NoError(t, c.ask())
					require.NoError(t, c.Close())
					is("sessions", "0")
					base = descriptors(t, w.Pid())
				}
				at := filepath.Join(dir, fmt.Sprint(i))
				c := act(t, x, f.addr, w, at)
				f.kill()
				require.NoError(t, os.Remove(at))
				if x.does == comes || x.does == asks || x.does == splits {
					require.NoError(t, c.answer())
				}
				if x.does == leaves || x.does == stops {
					_, err := c.r.ReadByte()
					require.Error(t, err)
					require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				} else {
					require.NoError(t, c.ask())
					require.NoError(t, c.ask())
				}
				require.NoError(t, c.Close())
				if x.does == stops || x.does == retires { // it serves nobody any more
					w.Kill()
					w = nil
				} else {
					is("sessions", "0")
				}
				f = startFront(h.t, h.path)
				if w != nil {
					is("connected", "true")
					require.Eventually(t, func() bool { return len(descriptors(t, w.Pid())) <= len(base) }, expect.Limit, time.Millisecond,
						"%q, before: %q", descriptors(t, w.Pid()), base)
				}
			})
		}
	})
}
