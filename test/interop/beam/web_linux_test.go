package beam

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/transport/handoff/keeper"
)

// peers copies the sources of others to where every release can read them, or skips the test.
func peers(t *testing.T, names ...string) string {
	t.Helper()
	from := os.Getenv("CNODE_TEST_BEAM_PEERS")
	if from == "" {
		t.Skip("CNODE_TEST_BEAM_PEERS does not say where the sources of the web servers are")
	}
	dir := t.TempDir()
	for _, name := range names {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(from, name))))
	}
	return dir
}

// compileOther compiles an Erlang application of others: behaviours first.
const compileOther = `Dir = "%[1]s", Name = "%[2]s", Out = Dir ++ "/" ++ Name ++ "/ebin",
ok = filelib:ensure_dir(Out ++ "/x"), [code:add_patha(P) || P <- filelib:wildcard(Dir ++ "/*/ebin")],
Files = filelib:wildcard(Dir ++ "/" ++ Name ++ "/src/*.erl"),
{First, Others} = lists:partition(fun(F) -> lists:member(filename:basename(F, ".erl"), ["ranch_transport", "ranch_protocol",
	"cowboy_stream", "cowboy_middleware", "cowboy_sub_protocol", "cowboy_handler"]) end, Files),
[{ok, _} = compile:file(F, [{outdir, Out}, {i, Dir ++ "/" ++ Name ++ "/include"}, {i, Dir ++ "/cowlib/include"}]) || F <- First ++ Others],
Mod = case Name of "cowlib" -> []; _ -> [{mod, {list_to_atom(Name ++ "_app"), []}}] end,
Needs = case Name of "cowboy" -> [cowlib, ranch]; _ -> [] end,
ok = file:write_file(Out ++ "/" ++ Name ++ ".app", io_lib:format("~p.", [{application, list_to_atom(Name), [{vsn, "1"}, {registered, []},
	{modules, [list_to_atom(filename:basename(F, ".erl")) || F <- Files]}, {applications, [kernel, stdlib, crypto, ssl] ++ Needs} | Mod]}])),
io:put_chars("built\n"), halt().`

// Cowboy behind a front is restarted in order: nearly all clients that wait for their next request
// keep their connections, and none gets a wrong answer.
func TestCowboy(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		src := peers(t, "ranch", "cowlib", "cowboy")
		h := newHouse(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for _, name := range []string{"ranch", "cowlib", "cowboy"} { // each needs those before it
			cmd := exec.CommandContext(ctx, r.Erl, "-noshell", "-eval", fmt.Sprintf(compileOther, src, name))
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", name, out)
			require.Contains(t, string(out), "built\n")
		}
		handler, err := os.ReadFile("testdata/cowboy_pid.erl")
		require.NoError(t, err)
		file := filepath.Join(h.ebin, "cowboy_pid.erl")
		require.NoError(t, os.WriteFile(file, handler, 0o644))
		out, err := exec.CommandContext(ctx, r.Erl, "-noshell", "-eval",
			fmt.Sprintf(`{ok, _} = compile:file("%s", [{outdir, "%s"}]), halt().`, file, h.ebin)).CombinedOutput()
		require.NoError(t, err, "%s", out)
		started := 0
		restarts(t, h, func() *worker {
			order := []string{"[cnode, cowboy]", "[cowboy, cnode]"}[started%2] // nothing says which stops first
			started++
			// not an otp.Node, whose process that evaluates would not outlive the beginning of its end
			return serve(t, h, r.Erl, "-noshell", "-pa", h.ebin, src+"/ranch/ebin", src+"/cowlib/ebin", src+"/cowboy/ebin",
				"-eval", fmt.Sprintf(`ok = cowboy_pid:start("%s", %s).`, h.path, order))
		})
	})
}

// Bandit, unchanged, is restarted in the same way.
func TestBandit(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		if e.Version == "1.14" {
			t.Skip("Plug does not compile with Elixir 1.14.0")
		}
		src := peers(t, "telemetry", "mime", "plug_crypto", "plug", "websock", "hpax", "thousand_island", "bandit")
		require.NoError(t, os.CopyFS(filepath.Join(src, "cnode"), os.DirFS("../../../beam/cnode")))
		script, err := os.ReadFile("testdata/build.exs")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		lib := t.TempDir()
		cmd := exec.CommandContext(ctx, e.Program, "-e", string(script))
		cmd.Env = append(os.Environ(), "BUILD="+src+":"+lib+":"+filepath.Join(src, "cnode"), "LC_ALL=C.UTF-8")
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "built\n")
		program, err := os.ReadFile("testdata/bandit_pid.ex")
		require.NoError(t, err)
		h := newFront(t)
		restarts(t, h, func() *worker {
			args := []string{}
			dirs, err := filepath.Glob(lib + "/*/ebin")
			require.NoError(t, err)
			for _, d := range dirs {
				args = append(args, "-pa", d)
			}
			args = append(args, "-e", string(program), "-e", fmt.Sprintf(`BanditPid.run(%q)`, h.path))
			return serve(t, h, e.Program, args...)
		})
	})
}

// serve starts a program and waits until it is a worker of the front.
func serve(t *testing.T, h *house, program string, args ...string) *worker {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, time.Second
	before := uint64(0) // the one before may still be among them
	for _, w := range h.k.Stats().Workers {
		before = max(before, w.ID)
	}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log)
		}
	})
	h.until("a worker", func(s keeper.Stats) bool {
		return slices.ContainsFunc(s.Workers, func(w keeper.Worker) bool { return w.ID > before })
	})
	return &worker{pid: cmd.Process.Pid, wait: func() { <-ended }}
}

// A worker is a web server.
type worker struct {
	pid  int
	wait func()
}

// restarts looks at single requests, then has clients work while the server is restarted.
func restarts(t *testing.T, h *house, start func() *worker) {
	w := start()
	w = killedBehindFile(t, h, w, start)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for path, size := range map[string]int{"/body?x=1": 300_000, "/?y=2": 0} {
		res, err := client.Post("http://"+h.addr+path, "text/plain", strings.NewReader(strings.Repeat("b", size)))
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		require.NoError(t, err)
		_, query, _ := strings.Cut(path, "?")
		require.Contains(t, string(b), fmt.Sprintf(" 127.0.0.1 %d %s\n", size, query))
	}
	many, times := 100, 20
	if testing.Short() {
		many, times = 30, 3
	}
	c := &crowd{stop: make(chan struct{})}
	for i := range many {
		c.all.Go(func() {
			for !c.stopped() {
				if err := c.browser(h.addr, i); err != nil {
					c.broken.Add(1)
					c.note(err.Error())
				}
			}
		})
	}
	for range times {
		before := c.answers.Load()
		require.Eventually(t, func() bool { return c.answers.Load()-before > int64(5*many) }, expect.Limit, time.Millisecond)
		require.NoError(t, syscall.Kill(w.pid, syscall.SIGTERM))
		w.wait()
		w = start()
	}
	before := c.answers.Load()
	require.Eventually(t, func() bool { return c.answers.Load()-before > int64(5*many) }, expect.Limit, time.Millisecond)
	report := c.ends()
	stats := h.k.Stats()
	t.Logf("%s; %.2f in a hundred of the connections broken; front: %v, %d done, %d gone", report,
		100*float64(c.broken.Load())/float64(many*times), stats, stats.Done, stats.Gone)
	require.Zero(t, c.wrong.Load(), report)
	// none is lost on a quiet machine; those whose server was killed, since it had not stopped in time
	require.LessOrEqual(t, float64(c.broken.Load()), 0.02*float64(many*times)+1, report)
}

// killedBehindFile kills a server that has sent a file as the answer to a client: the next server
// goes on with the connection.
func killedBehindFile(t *testing.T, h *house, w *worker, start func() *worker) *worker {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("f", 100_000)), 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(file), 0o755))
	before := h.k.Stats()
	conn, err := net.Dial("tcp", h.addr)
	require.NoError(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(expect.Limit))
	r := bufio.NewReader(conn)
	ask := func(query string) string {
		_, err := fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
		require.NoError(t, err)
		res, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, "%s", b)
		return string(b)
	}
	require.Len(t, ask("file?"+url.QueryEscape(file)), 100_000)
	h.until("the server has told the point behind it", func(s keeper.Stats) bool { return s.Points == before.Points+1 })
	require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
	w.wait()
	w = start()
	require.Contains(t, ask("?again"), " 0 again\n")
	after := h.k.Stats()
	require.Equal(t, before.Reset, after.Reset)
	require.Equal(t, before.Moved+1, after.Moved)
	return w
}

// browser sends requests over one connection, each with a number that the answer has to have.
func (c *crowd) browser(addr string, who int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := 0; !c.stopped(); i++ {
		_ = conn.SetDeadline(time.Now().Add(expect.Limit))
		if _, err := fmt.Fprintf(conn, "GET /?%d-%d HTTP/1.1\r\nHost: x\r\n\r\n", who, i); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(" 0 %d-%d\n", who, i); res.StatusCode != http.StatusOK || !strings.HasSuffix(string(b), want) {
			c.wrong.Add(1)
			c.note(fmt.Sprintf("got %d %q, want %q", res.StatusCode, b, want))
			return fmt.Errorf("wrong answer")
		}
		c.answers.Add(1)
		if res.Close {
			return nil // it says so
		}
		select {
		case <-c.stop:
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
