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

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// peers copies the sources of others to where every release can read them, or skips the test.
func peers(t *testing.T, names ...string) string {
	t.Helper()
	if len(names) == 0 {
		return t.TempDir()
	}
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
		h := newFront(t)
		h.r, h.ebin = r, buildSteps(t, r)
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
		lib := buildElixir(t, e, "telemetry", "mime", "plug_crypto", "plug", "websock", "hpax", "thousand_island", "bandit")
		program, err := os.ReadFile("testdata/bandit_pid.ex")
		require.NoError(t, err)
		h := newFront(t)
		restarts(t, h, func() *worker {
			return serve(t, h, e.Program, append(lib, "-e", string(program), "-e", fmt.Sprintf(`BanditPid.run(%q)`, h.path))...)
		})
	})
}

// buildElixir compiles the sources of others, and the package with the steps at which a test ends
// it. It returns the arguments by which Elixir finds them.
func buildElixir(t *testing.T, e otp.Elixir, names ...string) (args []string) {
	t.Helper()
	return buildProgram(t, e, "", names...)
}

// buildProgram is buildElixir with a program of testdata, which needs them; "": none.
func buildProgram(t *testing.T, e otp.Elixir, program string, names ...string) (args []string) {
	t.Helper()
	src := peers(t, names...)
	require.NoError(t, os.CopyFS(filepath.Join(src, "cnode"), os.DirFS("../../../beam/cnode")))
	require.NoError(t, os.WriteFile(filepath.Join(src, "cnode/src/cnode_steps.erl"), []byte(steps), 0o644))
	script, err := os.ReadFile("testdata/build.exs")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	lib := t.TempDir()
	cmd := exec.CommandContext(ctx, e.Program, "-e", string(script))
	cmd.Env = append(os.Environ(), "BUILD="+src+":"+lib+":"+filepath.Join(src, "cnode"), "LC_ALL=C.UTF-8")
	if program != "" {
		text, err := os.ReadFile(filepath.Join("testdata", program))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(src, program), text, 0o644))
		cmd.Env = append(cmd.Env, "PROGRAM="+filepath.Join(src, program))
	}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "built\n")
	dirs, err := filepath.Glob(lib + "/*/ebin")
	require.NoError(t, err)
	for _, d := range dirs {
		args = append(args, "-pa", d)
	}
	return args
}

// serve starts a program and waits until it is a worker of the front.
func serve(t *testing.T, h *house, program string, args ...string) *worker {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, time.Second
	before := uint64(0) // the one before may still be among them
	for _, w := range h.stats().Workers {
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
	h.until("a worker", func(s front.Stats) bool {
		return slices.ContainsFunc(s.Workers, func(w front.Worker) bool { return w.ID > before })
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
	w = killedBehindAnswer(t, h, w, start)
	w = stoppedWhilePipelined(t, h, w, start)
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

// A page is a client's keep-alive connection.
type page struct {
	net.Conn
	r *bufio.Reader
}

func open(t *testing.T, h *house) *page {
	t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(expect.Limit))
	return &page{conn, bufio.NewReader(conn)}
}

func request(target string) string { return fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", target) }

func (p *page) answer(t *testing.T) (string, error) {
	t.Helper()
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(res.Body)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", b)
	return string(b), err
}

func (p *page) ask(t *testing.T, target string) string {
	t.Helper()
	_, err := io.WriteString(p, request(target))
	require.NoError(t, err)
	body, err := p.answer(t)
	require.NoError(t, err)
	return body
}

func awaitFile(t *testing.T, file string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(file)
		return err == nil
	}, expect.Limit, time.Millisecond)
}

// shared is a folder that servers of all users may write to.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

// killedBehindFile kills a server that has sent a file as the answer to a client: the next server
// goes on with the connection.
func killedBehindFile(t *testing.T, h *house, w *worker, start func() *worker) *worker {
	t.Helper()
	file := filepath.Join(shared(t), "file")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("f", 100_000)), 0o644))
	before := h.k.Stats()
	p := open(t, h)
	require.Len(t, p.ask(t, "file?"+url.QueryEscape(file)), 100_000)
	h.until("the server has told the point behind it", func(s front.Stats) bool { return s.Points == before.Points+1 })
	return goesOn(t, h, before, w, start, p)
}

// killedBehindAnswer kills a server at the moment at which it has written an answer: the client,
// which waits for nothing, keeps its connection.
func killedBehindAnswer(t *testing.T, h *house, w *worker, start func() *worker) *worker {
	t.Helper()
	for _, target := range []string{"?whole", "chunks?x", "file?"} {
		dir := shared(t)
		at, file := filepath.Join(dir, "at"), filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(file, []byte("file"), 0o644))
		before := h.k.Stats()
		p := open(t, h)
		last := map[string]string{"?whole": "2", "chunks?x": "4", "file?": "3"}[target] // of what is written from now on
		p.ask(t, "arm/"+last+"?"+url.QueryEscape(at))
		if target == "file?" {
			target += url.QueryEscape(file)
		}
		require.NotEmpty(t, p.ask(t, target))
		awaitFile(t, at)
		w = goesOn(t, h, before, w, start, p)
	}
	return w
}

// goesOn kills a server: the next one goes on with a connection.
func goesOn(t *testing.T, h *house, before front.Stats, w *worker, start func() *worker, p *page) *worker {
	t.Helper()
	require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
	w.wait()
	w = start()
	require.Contains(t, p.ask(t, "?again"), " 0 again\n")
	after := h.k.Stats()
	require.Equal(t, before.Reset, after.Reset)
	require.Equal(t, before.Moved+1, after.Moved)
	p.leave(t, h)
	return w
}

func (p *page) leave(t *testing.T, h *house) {
	t.Helper()
	require.NoError(t, p.Close())
	h.until("the session is over", func(s front.Stats) bool { return s.Sessions == 0 })
}

// stoppedWhilePipelined stops a server in order while it is at the first request of a client that
// has sent more: each request is answered, or the connection ends. The servers wait for requests
// for ever, and so would a client of which a server has taken a request without an answer.
func stoppedWhilePipelined(t *testing.T, h *house, w *worker, start func() *worker) *worker {
	t.Helper()
	second := request("?second")
	for _, more := range []string{second, second[:10], second + second[:10]} {
		at := filepath.Join(shared(t), "at")
		p := open(t, h)
		p.ask(t, "?first") // it has stood at a point
		_, err := io.WriteString(p, request("wait?"+url.QueryEscape(at))+more)
		require.NoError(t, err)
		awaitFile(t, at)
		require.NoError(t, syscall.Kill(w.pid, syscall.SIGTERM))
		h.until("it stops", func(s front.Stats) bool {
			return !slices.ContainsFunc(s.Workers, func(w front.Worker) bool { return w.Ready })
		})
		require.NoError(t, os.Remove(at))
		_, err = p.answer(t)
		require.NoError(t, err, "%q", more)
		w.wait()
		w = start()
		whole, begun := len(more)/len(second), len(more)%len(second)
		if begun > 0 {
			_, err = io.WriteString(p, second[begun:])
			whole++
		}
		for ; whole > 0 && err == nil; whole-- {
			_, err = p.answer(t)
		}
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "neither an answer nor an end: %q", more)
		p.leave(t, h)
	}
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
