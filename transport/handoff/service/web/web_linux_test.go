package web_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/cnode-go/cnode/transport/handoff/service/web"
)

// role is the environment variable that makes this program a web server of the test's: its address,
// or the address of one with TLS.
const role = "CNODE_TEST_WEB"

func TestMain(m *testing.M) {
	if at := os.Getenv(role); at != "" {
		if err := serve(at); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println("left", os.Getpid())
		return
	}
	os.Exit(leak.Run(m))
}

// serve answers with the number of its process: at once, or at /slow when the connection of the
// test's has said so.
func serve(at string) error {
	s := &service.Service{
		Logger: slog.Default(), InPlace: os.Getenv(role+"_IN_PLACE") != "", Control: os.Getenv(role + "_CONTROL"),
		DrainTimeout: time.Minute,
	}
	if d, err := time.ParseDuration(os.Getenv(role + "_DRAIN")); err == nil {
		s.DrainTimeout = d
	}
	dies, comes := os.Getenv(role+"_DIES"), os.Getenv(service.Variable) != ""
	s.Reached = func(step string) {
		fmt.Println("step", step)
		if step == dies && comes {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	network, address, _ := strings.Cut(at, ":")
	l, err := s.Listen(network, address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex() // or the body is read before the answer begins
		fmt.Fprint(w, os.Getpid(), " ")
		_ = c.Flush()
		text, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s", text)
	})
	srv := &http.Server{Handler: mux}
	if d, err := time.ParseDuration(os.Getenv(role + "_HEADER_TIMEOUT")); err == nil {
		srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout = d, d, time.Minute
	}
	if os.Getenv(role+"_CLOSES") != "" && os.Getenv(service.Variable) != "" {
		_ = l.Close()
		return errors.New("it has another opinion")
	}
	if d, err := time.ParseDuration(os.Getenv(role + "_SLEEP")); err == nil {
		time.Sleep(d)
	}
	srv.RegisterOnShutdown(func() { fmt.Println("shut down") })
	if os.Getenv(role+"_FIRST") != "" {
		s.OnEnd(func(context.Context) error { select {} }) // as GracefulStop of gRPC with a stream that does not end
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				fmt.Fprintln(c, os.Getpid())
				go func() { _, _ = io.Copy(c, io.LimitReader(c, 5)); _ = c.Close() }()
			}
		}()
	} else if files := os.Getenv(role + "_TLS"); files != "" {
		web.ServeTLS(s, srv, l, files, files)
	} else {
		web.Serve(s, srv, l)
	}
	second := ""
	if os.Getenv(role+"_TWO") != "" {
		two, err := s.Listen(network, address)
		if err != nil {
			return err
		}
		web.Serve(s, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "two") })}, two)
		second = two.Addr().String()
	}
	s.OnReady = func() { fmt.Println("ready", l.Addr(), os.Getpid(), second) }
	return s.Run(context.Background())
}

// A run is that program, in whichever process.
type run struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	two  string // of _TWO
	pid  int
	said chan string
}

func begin(t *testing.T, at string, env ...string) *run {
	t.Helper()
	r := &run{t: t, cmd: exec.Command(os.Args[0]), said: make(chan string, 100_000)}
	r.cmd.Env = append(append(os.Environ(), role+"="+at, "NOTIFY_SOCKET="), env...)
	out, w, err := os.Pipe()
	require.NoError(t, err)
	r.cmd.Stdout, r.cmd.Stderr = w, os.Stderr
	require.NoError(t, r.cmd.Start())
	require.NoError(t, w.Close())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			r.said <- lines.Text()
		}
	}()
	r.ready()
	t.Cleanup(func() {
		_ = syscall.Kill(r.pid, syscall.SIGTERM)
		_ = r.cmd.Wait()
		<-over
		_ = out.Close()
	})
	return r
}

// hears waits for a line.
func (r *run) hears(begins string) string {
	r.t.Helper()
	for limit := time.After(expect.Limit); ; {
		select {
		case line := <-r.said:
			require.NotContains(r.t, line, "failed:")
			if strings.HasPrefix(line, begins) {
				return line
			}
		case <-limit:
			require.FailNow(r.t, "no line "+begins)
		}
	}
}

func (r *run) ready() {
	r.t.Helper()
	words := strings.Fields(r.hears("ready "))
	r.addr = words[1]
	r.pid = expect.NoError(strconv.Atoi(words[2])).In(r.t)
	r.two = strings.Join(words[3:], "")
}

// hangUp has the program replaced.
func (r *run) hangUp() {
	r.t.Helper()
	require.NoError(r.t, syscall.Kill(r.pid, syscall.SIGHUP))
	r.ready()
}

// A client has one connection.
type client struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (r *run) connect() *client {
	c := expect.NoError(net.Dial("tcp", r.addr)).In(r.t)
	r.t.Cleanup(func() { _ = c.Close() })
	// a program that does not answer fails the test, and does not hold it up
	_ = c.SetDeadline(time.Now().Add(2 * expect.Limit))
	return &client{r.t, c, bufio.NewReader(c)}
}

func (c *client) says(text string) {
	c.t.Helper()
	require.NoError(c.t, expect.Err(io.WriteString(c.c, text)))
}

func (c *client) hears() string {
	c.t.Helper()
	resp := expect.NoError(http.ReadResponse(c.r, nil)).In(c.t)
	defer resp.Body.Close()
	text := expect.NoError(io.ReadAll(resp.Body)).In(c.t)
	require.Equal(c.t, 200, resp.StatusCode)
	return string(text)
}

func (c *client) asks() string {
	c.t.Helper()
	c.says("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	return c.hears()
}

// follows asks until another process answers: the one before may have read the first byte of a
// request that comes quickly.
func (c *client) follows(pid string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return c.asks() == pid }, expect.Limit, time.Millisecond)
}

// Connections of every state go on: never used, idle, with half a request, with two requests in one
// write, and with a request in progress, which the old process answers.
func TestConnectionsGoOn(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	first := strconv.Itoa(r.pid)
	fresh, idle, half, slow := r.connect(), r.connect(), r.connect(), r.connect()
	require.Equal(t, first, idle.asks())
	require.Equal(t, first, half.asks())
	half.says("GET / HT")
	require.Equal(t, first, slow.asks())
	slow.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	line, err := slow.r.Peek(len("HTTP/1.1 200 OK")) // it is being answered
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK", string(line))

	r.hangUp()
	next := strconv.Itoa(r.pid)
	require.NotEqual(t, first, next)
	require.Equal(t, next, idle.asks())
	require.Equal(t, next, fresh.asks())
	half.says("TP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, first, half.hears(), "the process that has read the half")
	half.follows(next)
	slow.says("hello")
	require.Equal(t, first+" hello", slow.hears())
	slow.follows(next)
	r.hears("left " + first)
}

// The next program fails: nothing has happened.
func TestNextFails(t *testing.T) {
	t.Parallel()
	control := sockdir.New(t) + "/web/control"
	r := begin(t, "tcp:127.0.0.1:0", role+"_CONTROL="+control)
	first := strconv.Itoa(r.pid)
	fresh, idle := r.connect(), r.connect()
	require.Equal(t, first, idle.asks())
	require.ErrorContains(t, expect.Err(service.Ask(expect.Context(t), control, "/bin/false")), "serves on")
	require.Equal(t, first, idle.asks())
	require.Equal(t, first, fresh.asks())
	asked := expect.NoError(service.Ask(expect.Context(t), control, "")).In(t)
	r.ready()
	require.Equal(t, r.pid, asked.New)
	require.Equal(t, strconv.Itoa(r.pid), idle.asks())
}

// In place the process stays, and so do connections, once what is in progress has been answered.
func TestInPlace(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_IN_PLACE=yes")
	first := strconv.Itoa(r.pid)
	fresh, idle, slow := r.connect(), r.connect(), r.connect()
	require.Equal(t, first, idle.asks())
	slow.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	require.NoError(t, expect.Err(slow.r.Peek(1)))
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	slow.says("hello")
	require.Equal(t, first+" hello", slow.hears())
	r.ready()
	require.Equal(t, first, strconv.Itoa(r.pid))
	for _, c := range []*client{fresh, idle, slow, r.connect()} {
		require.Equal(t, first, c.asks())
	}
	for range 3 {
		r.hangUp()
		require.Equal(t, first, idle.asks())
	}
}

// With TLS, requests in progress are answered, and idle connections are closed in good order.
func TestTLSDrains(t *testing.T) {
	t.Parallel()
	file := certificate(t)
	r := begin(t, "tcp:127.0.0.1:0", role+"_TLS="+file)
	first := r.pid
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	get := func() string {
		resp := expect.NoError((&http.Client{Transport: transport}).Get("https://" + r.addr + "/")).In(t)
		defer resp.Body.Close()
		text := expect.NoError(io.ReadAll(resp.Body)).In(t)
		return string(text)
	}
	require.Equal(t, strconv.Itoa(first), get())
	r.hangUp()
	r.hears(fmt.Sprint("left ", first))
	require.Equal(t, strconv.Itoa(r.pid), get())
}

// Clients that ask all the time see no failure, over many upgrades.
func TestLoad(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	upgrades, clients := 5, 16
	if at, err := strconv.Atoi(os.Getenv("CNODE_TEST_UPGRADES")); err == nil {
		upgrades, clients = at, 64
	}
	var asked, longest atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	failed := make(chan error, clients)
	for range clients {
		all.Go(func() {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				failed <- err
				return
			}
			defer c.Close()
			for in := bufio.NewReader(c); ; {
				select {
				case <-stop:
					return
				default:
				}
				begun := time.Now()
				_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				var resp *http.Response
				if err == nil {
					resp, err = http.ReadResponse(in, nil)
				}
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					err = errors.Join(err, resp.Body.Close())
				}
				if err != nil {
					failed <- err
					return
				}
				asked.Add(1)
				if took := int64(time.Since(begun)); took > longest.Load() {
					longest.Store(took)
				}
			}
		})
	}
	for range upgrades {
		before := asked.Load()
		old := r.pid
		r.hangUp()
		r.hears(fmt.Sprint("left ", old))
		require.Eventually(t, func() bool { return asked.Load() > before+int64(10*clients) || len(failed) > 0 }, expect.Limit, time.Millisecond)
	}
	close(stop)
	all.Wait()
	t.Logf("%d requests of %d clients, %d upgrades, longest %v", asked.Load(), clients, upgrades, time.Duration(longest.Load()))
	select {
	case err := <-failed:
		require.NoError(t, err)
	default:
	}
}

// Under systemd a reload moves what is idle, and a restart leaves it with systemd: the unit is the
// page's.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	program := expect.NoError(os.Executable()).In(t)
	at := port.Vacant(t)
	const name = "web.service"
	unit := strings.ReplaceAll(systemd.Printed(t, "../../../../docs/operate/upgrade-a-service.md", name), "127.0.0.1:8080", at)
	systemd.Each(t, map[string]systemd.File{
		"/usr/local/bin/web":                           {From: program, Mode: 0o755},
		"/etc/systemd/system/" + name:                  {Text: unit, Mode: 0o644},
		"/etc/systemd/system/" + name + ".d/role.conf": {Text: "[Service]\nEnvironment=" + role + "=tcp:" + at + "\n", Mode: 0o644},
	}, func(t *testing.T, m *systemd.Machine) {
		m.Succeed("systemctl", "start", "web.service")
		r := &run{t: t, addr: at}
		idle, fresh := r.connect(), r.connect()
		pids := []string{idle.asks()}
		for _, step := range []string{"reload", "restart", "reload", "restart", "restart"} {
			m.Succeed("systemctl", step, "web.service")
			pid := idle.asks()
			require.NotContains(t, pids, pid, step)
			pids = append(pids, pid)
		}
		require.Equal(t, pids[len(pids)-1], fresh.asks())
		m.Succeed("systemctl", "stop", "web.service")
		require.Equal(t, "success\n", m.Succeed("systemctl", "show", "--value", "-p", "Result", "web.service"))
	})
}
