package epmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests here run against the epmd and erl found on the PATH.

// program gives the path of a program of OTP, or skips the test.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs Erlang/OTP: no %s on the PATH", name)
	}
	return path
}

// otpEnv is the environment of such a program: a home and a cookie of its own, and no settings of the machine's.
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

// startRealEpmd runs an epmd on a free port, or on that of addr when it is not empty, until the test ends.
func startRealEpmd(t *testing.T, addr string, args ...string) *realEpmd {
	t.Helper()
	path := program(t, "epmd")
	for range 20 {
		at := addr
		if at == "" {
			at = absent(t)
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
			break // somebody else took the port meanwhile
		}
	}
	t.Fatal("no epmd could be started")
	return nil
}

func TestClientWithRealEpmd(t *testing.T) {
	real := startRealEpmd(t, "", "-relaxed_command_check")
	ctx := t.Context()
	c := &Client{Addr: real.addr}
	before := uint32(time.Now().Unix())
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

func TestClientWithStrictRealEpmd(t *testing.T) {
	c := &Client{Addr: startRealEpmd(t, "").addr}
	r, err := c.Register(t.Context(), Registration{Name: "a", Port: 1})
	require.NoError(t, err)
	require.ErrorIs(t, c.Stop(t.Context(), "a"), ErrNotAllowed)
	require.ErrorIs(t, c.Kill(t.Context()), ErrNotAllowed)
	require.NoError(t, r.Err())
	require.NoError(t, r.Close())
}

func TestKeepOverARestartOfRealEpmd(t *testing.T) {
	real := startRealEpmd(t, "")
	c := &Client{Addr: real.addr}
	events := make(chan KeepEvent, 1000)
	k, err := c.Keep(t.Context(), Registration{Name: "a", Port: 1}, &KeepOptions{
		MinPause: time.Millisecond, MaxPause: 10 * time.Millisecond, Notify: func(e KeepEvent) { events <- e },
	})
	require.NoError(t, err)
	real.kill()
	require.Equal(t, KeepLost, (<-events).State)
	startRealEpmd(t, real.addr)
	for e := range events {
		if e.State == KeepRegistered {
			break
		}
	}
	info, err := c.Resolve(t.Context(), "", "a")
	require.NoError(t, err)
	require.Equal(t, uint16(1), info.Port)
	require.NoError(t, k.Close())
}

// step is one request of a conversation that is held with a real epmd and with a Server.
type step struct {
	what string
	raw  []byte
	kept int    // length of the answer when the connection stays open; 0: it is closed
	as   string // name for closing the kept connection later
	end  string // instead of a request: close that connection, or send a byte on it, when byte is set
	byte bool
}

var steps = []step{
	{what: "names of nobody", raw: framed("n")},
	{what: "dump of nobody", raw: framed("d")},
	{what: "register a", raw: framed(string(alive2("a", ""))), kept: 6, as: "a"},
	{what: "a is taken", raw: framed(string(alive2("a", ""))), kept: 6},
	{what: "a is taken, 16 bits", raw: framed("x\x00\x07M\x00\x00\x05\x00\x05\x00\x01a\x00\x00"), kept: 4},
	{what: "register b with 16 bits", raw: framed("x\x12\x34h\x07\x00\x05\x00\x04\x00\x01b\x00\x02xy"), kept: 4, as: "b"},
	{what: "register with bytes behind", raw: framed(string(alive2("behind", "")) + "zzz"), kept: 6, as: "behind"},
	{what: "register the empty name with extra data", raw: framed(string(alive2("", "x"))), kept: 6, as: "empty"},
	{what: "the empty name is taken", raw: framed(string(alive2("", "")) + "z"), kept: 6},
	{what: "register the empty name", raw: framed(string(alive2("", "")))},
	{what: "register with NUL", raw: framed(string(alive2("a\x00b", "")))},
	{what: "register not UTF-8", raw: framed(string(alive2("\xff\xfe", ""))), kept: 6},
	{what: "register a surrogate", raw: framed(string(alive2("\xed\xa0\x80", ""))), kept: 6},
	{what: "register beyond Unicode", raw: framed(string(alive2("\xf4\x90\x80\x80", ""))), kept: 6},
	{what: "register 255 characters", raw: framed(string(alive2(strings.Repeat("y", 255), ""))), kept: 6, as: "y"},
	{what: "register 256 characters", raw: framed(string(alive2(strings.Repeat("y", 256), ""))), kept: 6},
	{what: "register 255 characters of 4 bytes", raw: framed(string(alive2(strings.Repeat("😀", 255), ""))), kept: 6, as: "😀"},
	{what: "register 256 characters of 4 bytes", raw: framed(string(alive2(strings.Repeat("😀", 256), ""))), kept: 6},
	{what: "register 1020 bytes of extra data", raw: framed(string(alive2("e", strings.Repeat("\x00", 1020)))), kept: 6, as: "e"},
	{what: "register 1021 bytes of extra data", raw: framed(string(alive2("e2", strings.Repeat("x", 1021)))), kept: 6},
	{what: "register with a name that looks like a line", raw: framed(string(alive2("x at port 1\nname y", ""))), kept: 6, as: "line"},
	{what: "register with port 0", raw: framed("x\x00\x00M\x00\x00\x06\x00\x05\x00\x01p\x00\x00"), kept: 6, as: "p"},
	{what: "name longer than the request", raw: framed("x\x00\x07M\x00\x00\x06\x00\x05\x00\x20a\x00\x00")},
	{what: "extra data longer than the request", raw: framed("x\x00\x07M\x00\x00\x06\x00\x05\x00\x01a\x00\x05x")},
	{what: "names", raw: framed("n")},
	{what: "names and more", raw: framed("nxyz")},
	{what: "dump", raw: framed("d")},
	{what: "resolve a", raw: framed("za")},
	{what: "resolve b", raw: framed("zb")},
	{what: "resolve a with NUL", raw: framed("za\x00")},
	{what: "resolve a with two NUL", raw: framed("za\x00\x00")},
	{what: "resolve e", raw: framed("ze")},
	{what: "resolve the name with port 0", raw: framed("zp")},
	{what: "resolve nobody", raw: framed("zzz")},
	{what: "resolve nothing", raw: framed("z")},
	{what: "resolve NUL", raw: framed("z\x00")},
	{what: "resolve not UTF-8", raw: framed("z\xff")},
	{what: "resolve 254 characters", raw: framed("z" + strings.Repeat("y", 254))},
	{what: "resolve 255 characters", raw: framed("z" + strings.Repeat("y", 255))},
	{what: "resolve 254 characters of 4 bytes", raw: framed("z" + strings.Repeat("😀", 254))},
	{what: "kill", raw: framed("k"), as: "strict"},
	{what: "stop a", raw: framed("sa"), as: "strict"},
	{what: "stop nobody", raw: framed("snobody")},
	{what: "stop nothing", raw: framed("s")},
	{what: "stop behind, and more", raw: framed("sbehind\x00zz")},
	{what: "names after stop", raw: framed("n")},
	{what: "unknown request", raw: framed("q")},
	{what: "request of OTP R2", raw: framed("a\x12\x34abc")},
	{what: "length 0", raw: []byte{0, 0}},
	{what: "length 3057", raw: framed("n" + strings.Repeat("x", 3056))},
	{what: "length 3058", raw: framed("n" + strings.Repeat("x", 3057))},
	{what: "length 65535", raw: framed("n" + strings.Repeat("x", 65534))},
	{what: "bytes behind the request", raw: append(framed("n"), 'x')},
	{end: "a"},
	{what: "resolve a once closed", raw: framed("za")},
	{end: "b"},
	{what: "dump of the closed", raw: framed("d")},
	{what: "register a again", raw: framed(string(alive2("a", ""))), kept: 6, as: "a"},
	{what: "register b again, with 32 bits", raw: framed(string(alive2("b", ""))), kept: 6, as: "b"},
	{what: "names in their new order", raw: framed("n")},
	{end: "e", byte: true},
	{what: "names without the one that talked", raw: framed("n")},
	{what: "dump with the one that talked", raw: framed("d")},
}

// hold holds the conversation and writes down what was said, without what must differ: port, descriptors, the clock in creations.
func hold(t *testing.T, addr string, relaxed bool) string {
	var said strings.Builder
	conns := map[string]net.Conn{}
	first := map[string]uint32{}
	port := make([]byte, 4)
	var n uint16
	_, err := fmt.Sscan(portOf(t, addr), &n)
	require.NoError(t, err)
	binary.BigEndian.PutUint16(port[2:], n)
	fd := regexp.MustCompile(`fd = \d+`)
	for _, s := range steps {
		var answer string
		switch {
		case s.end != "":
			if !relaxed || conns[s.end] != nil {
				if s.byte {
					_, err := conns[s.end].Write([]byte("x"))
					require.NoError(t, err)
					_, err = conns[s.end].Read(make([]byte, 1))
					require.Error(t, err)
				}
				require.NoError(t, conns[s.end].Close())
			}
			// A real epmd looks at connections in no certain order: ask twice, so that it has seen the end.
			ask(t, addr, framed("n"))
			continue
		case relaxed && s.as == "strict":
			continue
		case s.kept > 0:
			var conn net.Conn
			answer, conn = keptOpen(t, addr, string(s.raw[2:]), s.kept)
			if s.as != "" {
				conns[s.as] = conn
			}
			switch {
			case answer[1] != 0:
			case s.kept == 6:
				require.NotEmpty(t, s.as)
				creation := binary.BigEndian.Uint32([]byte(answer[2:]))
				require.GreaterOrEqual(t, creation, uint32(4))
				if first[s.as] == 0 {
					require.InDelta(t, time.Now().Unix(), creation, 60)
					first[s.as] = creation
				}
				answer = fmt.Sprint(answer[:2], creation-first[s.as], " after the first")
			default:
				require.Contains(t, []string{"\x00\x01", "\x00\x02", "\x00\x03"}, answer[2:])
				answer = answer[:2]
			}
		default:
			answer = ask(t, addr, s.raw)
			answer = strings.Replace(answer, string(port), "PORT", 1)
			answer = fd.ReplaceAllString(answer, "fd = FD")
		}
		// Long answers would hide a difference in the test's output.
		fmt.Fprintf(&said, "%s: %.200q, %d bytes, sum %x\n", s.what, answer, len(answer), crc32.ChecksumIEEE([]byte(answer)))
	}
	for _, c := range conns {
		c.Close()
	}
	return said.String()
}

func TestServerSaysWhatRealEpmdSays(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprint("relaxed=", relaxed), func(t *testing.T) {
			var args []string
			if relaxed {
				args = []string{"-relaxed_command_check"}
			}
			theirs := hold(t, startRealEpmd(t, "", args...).addr, relaxed)
			ours := hold(t, startServer(t, &Server{Relaxed: relaxed}), relaxed)
			require.Equal(t, theirs, ours)
			require.Contains(t, ours, "active name     <b> at port 7, fd = FD")
		})
	}
}

func TestRealEpmdCommandsOnServer(t *testing.T) {
	path := program(t, "epmd")
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
		a, err := c.Register(t.Context(), Registration{Name: "åäö", Port: 1234})
		require.NoError(t, err)
		b, err := c.Register(t.Context(), Registration{Name: "b", Port: 1235})
		require.NoError(t, err)
		do("-names")
		do("-dump")
		do("-stop", "b")
		do("-stop", "nobody")
		if !relaxed {
			do("-kill")
		}
		require.NoError(t, b.Close())
		_, _, err = c.Names(t.Context(), "") // by then a real epmd has seen the end
		require.NoError(t, err)
		do("-dump")
		if !relaxed {
			require.NoError(t, a.Close())
			_, _, err = c.Names(t.Context(), "")
			require.NoError(t, err)
		}
		do("-kill")
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

// erl runs code in an Erlang node that uses the port mapper at port, and gives its output line by line. The node is killed at the
// test's end.
func erl(t *testing.T, port, name, code string) (line func() string) {
	t.Helper()
	args := []string{"-noinput", "-start_epmd", "false", "-eval", code}
	if name != "" {
		args = append(args, "-sname", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, program(t, "erl"), args...)
	cmd.Env = otpEnv(t, port)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		cmd.Wait() // it was killed, or halted by itself
	})
	lines := bufio.NewScanner(out)
	return func() string {
		t.Helper()
		if !lines.Scan() {
			cmd.Wait() // stderr is complete after it
			t.Fatalf("erl ended: %s", stderr.String())
		}
		return lines.Text()
	}
}

func TestErlangNodesMeetThroughServer(t *testing.T) {
	program(t, "erl")
	host, err := os.Hostname()
	require.NoError(t, err)
	host, _, _ = strings.Cut(host, ".")
	if _, err := net.LookupHost(host); err != nil {
		t.Skipf("Erlang's short names need this machine's to have an address: %v", err)
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0") // the name may stand for any address of this machine
	require.NoError(t, err)
	serve(t, &Server{}, l)
	addr := net.JoinHostPort("127.0.0.1", portOf(t, l.Addr().String()))
	c := &Client{Addr: addr}

	one := erl(t, portOf(t, addr), "one", `io:format("~p~n", [erlang:system_info(creation)]), receive after infinity -> ok end.`)
	creation := one()
	info, err := c.Resolve(t.Context(), "", "one")
	require.NoError(t, err)
	require.Equal(t, TypeNormal, info.Type)
	version, ok := info.Version()
	require.True(t, ok)
	require.Equal(t, 6, version)

	two := erl(t, portOf(t, addr), "two", `
		{ok, Names} = erl_epmd:names(),
		io:format("~p~n", [Names]),
		io:format("~p~n", [net_adm:ping(list_to_atom("one@`+host+`"))]),
		io:format("~p~n", [rpc:call(list_to_atom("one@`+host+`"), erlang, system_info, [creation])]),
		io:format("~p~n", [net_adm:ping(list_to_atom("three@`+host+`"))]),
		receive after infinity -> ok end.`)
	got := two()
	_, names, err := c.Names(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, names, 2)
	require.Equal(t, fmt.Sprintf(`[{"one",%d},{"two",%d}]`, names[1].Port, names[0].Port), got, "erl_epmd turns the list around")
	require.Equal(t, "pong", two())
	require.Equal(t, creation, two())
	require.Equal(t, "pang", two())

	third := erl(t, portOf(t, addr), "", `
		io:format("~p~n", [net_kernel:start([one, shortnames])]), halt().`)
	require.NotContains(t, third(), "{ok,", "the name is taken")
}

func TestErlangFindsWhatClientRegistered(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, &Server{}, l)
	c := &Client{Addr: l.Addr().String()}
	r, err := c.Register(t.Context(), Registration{Name: "gonode", Port: 4242})
	require.NoError(t, err)
	defer r.Close()
	answer := erl(t, portOf(t, c.Addr), "", `
		io:format("~p ~p~n", [erl_epmd:port_please("gonode", {127,0,0,1}), erl_epmd:port_please("other", {127,0,0,1})]), halt().`)
	require.Equal(t, "{port,4242,6} noport", answer())
}
