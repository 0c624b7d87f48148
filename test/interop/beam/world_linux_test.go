package beam

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(frontVariable); path != "" {
		if err := frontMain(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := leak.Run(m)
	for dir, ebin := range built.dirs {
		if ebin == "" {
			os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

//go:embed testdata/line.erl
var line string

// built has the folders that build has compiled, which end with the tests.
var built = struct {
	sync.Mutex
	dirs map[string]string
}{dirs: make(map[string]string)}

// build copies folders of the package to where every release can read them, and compiles the Erlang
// of it and of the tests, warnings being errors. It returns the folder with the compiled code: one
// for all tests that ask for the same.
func build(t *testing.T, r otp.Release, folders ...string) string {
	t.Helper()
	return buildWith(t, r, "debug_info", folders...)
}

// buildSteps is build with the steps at which a test ends a system.
func buildSteps(t *testing.T, r otp.Release) string {
	t.Helper()
	return buildWith(t, r, "{d, 'CNODE_STEPS'}", "src")
}

// buildWith is build with another option of the compiler.
func buildWith(t *testing.T, r otp.Release, option string, folders ...string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	key := fmt.Sprint(r.Erl, option, folders)
	if ebin := built.dirs[key]; ebin != "" {
		return ebin
	}
	dir, err := os.MkdirTemp("", "beam")
	require.NoError(t, err)
	ebin := filepath.Join(dir, "ebin")
	built.dirs[dir] = "" // is removed, compiled or not
	require.NoError(t, os.Mkdir(ebin, 0o755))
	for _, f := range folders {
		require.NoError(t, os.CopyFS(filepath.Join(dir, f), os.DirFS(filepath.Join("../../../beam/cnode", f))))
	}
	for module, text := range map[string]string{"cnode_steps": steps, "cnode_link_checks": linkChecks} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, module+".erl"), []byte(text), 0o644))
	}
	n := r.Start(t, otp.Options{Local: true})
	defer n.Close()
	require.Equal(t, "[]", n.Do(t, fmt.Sprintf(`[{F, R} || F <- filelib:wildcard("%[1]s/**/*.erl"),
		R <- [compile:file(F, [return, %[2]s, warnings_as_errors, {i, "%[1]s/src"}, {outdir, "%[1]s/ebin"}])], element(1, R) =/= ok]`,
		dir, option)))
	require.Equal(t, "ok", n.Do(t, fmt.Sprintf(`{ok, [{application, cnode, P}]} = file:consult("%[1]s/src/cnode.app.src"),
		file:write_file("%[1]s/ebin/cnode.app", io_lib:format("~p.", [{application, cnode, [{modules, []} | P]}]))`, dir)))
	built.dirs[key] = ebin
	return ebin
}

// A house is a front and those who work for it.
type house struct {
	t     *testing.T
	k     *front.Keeper
	stats func() front.Stats
	path  string
	addr  string
	r     otp.Release
	ebin  string
	dial  *front.DialOptions
}

func newHouse(t *testing.T, r otp.Release) *house {
	t.Helper()
	h := newFront(t)
	h.r, h.ebin = r, build(t, r, "src")
	return h
}

// newFront is a house without Erlang.
func newFront(t *testing.T) *house { return newFrontWith(t, &front.Options{}) }

func newFrontWith(t *testing.T, o *front.Options) *house {
	t.Helper()
	h := &house{t: t, path: filepath.Join(sockdir.New(t), "front"), dial: o.Dial}
	h.stats = func() front.Stats { return h.k.Stats() } // another one's, when the front has moved
	var err error
	o.Log = otp.Log(t, "front")
	h.k, err = front.New(o)
	require.NoError(t, err)
	l, err := h.k.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.addr = l.Addr().String()
	require.NoError(t, h.k.Workers(context.Background(), h.path))
	ended := make(chan error, 1)
	go func() { ended <- h.k.Serve(context.Background(), l, nil) }()
	t.Cleanup(func() {
		require.NoError(t, h.k.Close())
		require.ErrorIs(t, <-ended, net.ErrClosed)
	})
	return h
}

// worker starts a BEAM that serves lines.
func (h *house) worker(kind string) *otp.Node {
	h.t.Helper()
	n := h.r.Start(h.t, otp.Options{Local: true, ExtraArgs: []string{"-pa", h.ebin}})
	n.Load(h.t, line)
	require.Equal(h.t, "ok", n.Do(h.t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode),
		register(line_server, line:start("%s", %s, 8)), ok`, h.path, kind)))
	return n
}

func (h *house) until(what string, is func(s front.Stats) bool) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return is(h.stats()) }, expect.Limit, time.Millisecond, "%s", what)
}

// A crowd are clients, each of which sends numbered lines over one connection, one after the other,
// and looks at each answer.
type crowd struct {
	answers, broken, wrong atomic.Int64
	first                  atomic.Pointer[string]
	stop                   chan struct{}
	all                    sync.WaitGroup
}

// clients starts a crowd. Between two lines a client waits about as long as think.
func clients(addr string, n int, think time.Duration) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for range n {
		c.all.Go(func() {
			for !c.stopped() {
				if err := c.client(addr, think); err != nil {
					c.broken.Add(1)
					c.note(err.Error())
				}
			}
		})
	}
	return c
}

func (c *crowd) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

func (c *crowd) note(text string) { c.first.CompareAndSwap(nil, &text) }

// ends ends them, each behind an answer.
func (c *crowd) ends() (report string) {
	close(c.stop)
	c.all.Wait()
	first := ""
	if p := c.first.Load(); p != nil {
		first = ", first: " + *p
	}
	return fmt.Sprintf("%d answers, %d broken, %d wrong%s", c.answers.Load(), c.broken.Load(), c.wrong.Load(), first)
}

func (c *crowd) client(addr string, think time.Duration) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	number := rand.IntN(1_000_000)
	for count := 1; !c.stopped(); count++ {
		number++
		text := fmt.Sprintf("%d\n", number)
		_ = conn.SetDeadline(time.Now().Add(expect.Limit))
		if cut := rand.IntN(4 * len(text)); cut < len(text) && cut > 0 { // some in two pieces
			if _, err = conn.Write([]byte(text[:cut])); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			text = text[cut:]
		}
		if _, err = conn.Write([]byte(text)); err != nil {
			return err
		}
		answer, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%d %d\n", number, count); answer != want {
			c.wrong.Add(1)
			c.note(fmt.Sprintf("got %q, want %q", answer, want))
			return errors.New("wrong answer")
		}
		c.answers.Add(1)
		select {
		case <-c.stop:
		case <-time.After(think/2 + rand.N(think)):
		}
	}
	return nil
}

// descriptors are those that a process of this system has.
func descriptors(t testing.TB, pid int) (all []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the process has ended
	}
	for _, e := range entries {
		to, _ := os.Readlink(filepath.Join(dir, e.Name()))
		all = append(all, e.Name()+" "+to)
	}
	return all
}

// failures are the lines of the package's own tests that do not say that one has passed.
func failures(out string) (failed []string, ended bool) {
	for l := range strings.Lines(out) {
		if !strings.HasPrefix(l, "ok ") && l != "end\n" {
			failed = append(failed, l)
		}
		ended = l == "end\n"
	}
	return failed, ended
}
