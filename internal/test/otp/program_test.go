package otp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// command is a libei program that finds the port mapper at port.
func command(t *testing.T, port int, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(Libei(t), name), args...)
	cmd.Env = environment(t.TempDir(), "ERL_EPMD_PORT="+strconv.Itoa(port))
	return cmd
}

// output runs a program that must succeed.
func output(t *testing.T, cmd *exec.Cmd) string {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}

func TestLibeiEcho(t *testing.T) {
	Each(t, func(t *testing.T, r Release) {
		port := r.Epmd(t)
		echo := Serve(t, command(t, port, "ei_echo", "echo@127.0.0.1", DefaultCookie))
		require.Equal(t, "echo@127.0.0.1", echo.Name)
		n := r.Start(t, Options{EpmdPort: port})
		for _, tt := range []struct{ expr, want string }{
			{`net_adm:ping('echo@127.0.0.1')`, `pong`},
			{`{peer, 'echo@127.0.0.1'} ! {echo, self(), {a, "b", <<0:80>>}}, receive X -> X end`, `{a,"b",<<0,0,0,0,0,0,0,0,0,0>>}`},
			{`B = rand:bytes(1000000), {peer, 'echo@127.0.0.1'} ! {echo, self(), B}, receive B -> same end`, `same`},
			{`{peer, 'echo@127.0.0.1'} ! {source, self(), 1000, <<"x">>},
				[receive <<"x">> -> ok end || _ <- lists:seq(1, 1000)], receive M -> M after 0 -> none end`, `none`},
			{`[{peer, 'echo@127.0.0.1'} ! {sink, self(), I =:= 500, <<I:64>>} || I <- lists:seq(1, 500)],
				{peer, 'echo@127.0.0.1'} ! {sink, self(), true, <<>>},
				[receive C -> C end, receive D -> D end]`, `[{count,500},{count,1}]`},
			{`gen_server:call({peer, 'echo@127.0.0.1'}, {what, 1})`, `{ok,{what,1}}`},
			{`{peer, 'echo@127.0.0.1'} ! nonsense, {peer, 'echo@127.0.0.1'} ! {echo, no_pid, 1},
				{peer, 'echo@127.0.0.1'} ! {echo, self(), still}, receive S -> S end`, `still`},
		} {
			require.Equal(t, tt.want, n.Eval(t, tt.expr), tt.expr)
		}
		require.Equal(t, "['echo@127.0.0.1']", n.Eval(t, "nodes(hidden)"))
	})
}

func TestLibeiClient(t *testing.T) {
	Each(t, func(t *testing.T, r Release) {
		port := r.Epmd(t)
		n := r.Start(t, Options{EpmdPort: port})
		n.Load(t, `-module(cnode).
			-export([echo/1, serve/0]).
			echo(T) -> T.
			serve() -> receive {echo, From, T} -> From ! T, serve() end.`)
		n.Do(t, "register(peer, spawn(cnode, serve, []))")
		// The last field is a time.
		require.Regexp(t, `^rounds=100 size=3000 us=[0-9.]+\n$`,
			output(t, command(t, port, "ei_client", n.Name(), DefaultCookie, "100", "3000")))
		require.Regexp(t, `^rounds=100 size=0 us=[0-9.]+\n$`,
			output(t, command(t, port, "ei_client", "-r", n.Name(), DefaultCookie, "100", "0")))
		listener := n.Do(t, "{ok, P} = erl_epmd:names({127,0,0,1}), element(2, lists:keyfind("+strconv.Quote(n.Alive())+", 1, P))")
		require.Regexp(t, `^connections=5 seconds=[0-9.]+ rate=[0-9.]+\n$`,
			output(t, command(t, 1, "ei_connect_rate", "-p", listener, n.Name(), DefaultCookie, "5")))
		// Answers that are not what was sent, and a wrong cookie, must be seen.
		n.Do(t, "unregister(peer), register(peer, spawn(fun() -> receive {echo, From, _} -> From ! <<1>> end end))")
		var exit *exec.ExitError
		_, err := command(t, port, "ei_client", n.Name(), DefaultCookie, "1", "1").Output()
		require.ErrorAs(t, err, &exit)
		require.Contains(t, string(exit.Stderr), "other bytes came back")
		_, err = command(t, port, "ei_client", n.Name(), "wrong", "1", "1").Output()
		require.ErrorAs(t, err, &exit)
		require.Contains(t, string(exit.Stderr), "cannot connect")
	})
}

func TestServeFails(t *testing.T) {
	port := Epmd(t)
	_, err := LaunchProgram(context.Background(), command(t, port, "ei_echo", "nohost", "c"))
	require.ErrorContains(t, err, "not a node name: nohost")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = LaunchProgram(ctx, exec.Command("cat"))
	require.ErrorIs(t, err, context.Canceled)
}

// envAbandon makes the test binary start one of each and then stop existing.
const envAbandon = "CNODE_TEST_ABANDON"

func abandon() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	releases, err := Find()
	fail(err)
	for _, r := range releases {
		port, _, err := r.LaunchEpmd()
		fail(err)
		n, err := r.Launch(context.Background(), Options{EpmdPort: port})
		fail(err)
		fmt.Println(n.Pid(), port)
	}
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}
