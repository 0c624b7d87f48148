package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// Whatever erl_call of the release prints for these, and its exit code, is what ours prints and
// exits with.
func TestSame(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		n := r.Start(t, otp.Options{})
		p := place{t.TempDir(), n.EpmdPort()}
		to := []string{"-name", n.Name(), "-c", n.Cookie()}
		same := func(t *testing.T, stdin string, args ...string) result {
			t.Helper()
			theirs, own := p.run(t, r.Command("erl_call"), stdin, args...), p.run(t, ours(t), stdin, args...)
			require.Equal(t, theirs.code, own.code, "%s\n%s", theirs.errOut, own.errOut)
			require.Equal(t, theirs.out, own.out, own.errOut)
			require.Equal(t, theirs.errOut == "", own.errOut == "", "%s\n%s", theirs.errOut, own.errOut)
			return own
		}
		for _, call := range []string{"erlang node", "erlang   node  [] ", "lists seq [1,5]", "lists seq [1000,1003]", "no_such_module",
			"erlang error [boo]", "erlang exit [boo]", "erlang throw [boo]", "lists append [[a,{b,c},1.5,-3],['A b',\"x\"]]", "erlang node a",
			"erlang list_to_atom [\"a b\"]", "erlang node [", "erlang element [2,{a,B}]", "erlang hd [a]"} {
			t.Run(call, func(t *testing.T) { same(t, "", append(to, "-a", call)...) })
		}
		t.Run("terms", func(t *testing.T) {
			same(t, "["+strings.Join([]string{`1`, `-5`, `1.5`, `1.0e100`, `1 bsl 64 - 1`, `1 bsl 64`, `-(1 bsl 100)`, `abc`, `'A b'`, `'åäö'`, `''`,
				`"abc"`, `"a\"b\\c\n\r\t\v\b\f\0\1"`, `[]`, `[1,2,300]`, `[a,b|c]`, `[[],[1],"abc"]`, `{}`, `{a,{b,"x"},[]}`, `<<>>`, `<<"abc">>`,
				`list_to_binary(lists:seq(1, 30))`, `list_to_binary(lists:seq(1, 31))`, `<<1:3>>`, `<<1,2,3:7>>`,
				`<<(list_to_binary(lists:seq(1, 30)))/binary,1:1>>`, `#{a=>1,"b"=>{c}}`, `fun lists:map/2`, `fun(X) -> X end`,
				`io:format("appears at the node")`, `hd(erlang:ports())`, `whereis(init)`}, ", ")+"].\n", append(to, "-e")...)
		})
		for _, expr := range []string{`X=1, Y=2, {X, Y}`, `1 +`, `X`, `exit(x)`} {
			t.Run(expr, func(t *testing.T) { same(t, expr+".\n", append(to, "-e")...) })
		}
		t.Run("expressions, then a call", func(t *testing.T) { same(t, "1.\n", append(to, "-a", "erlang node", "-e")...) })
		t.Run("nothing to do", func(t *testing.T) { same(t, "", to...) })
		t.Run("no result", func(t *testing.T) { same(t, "1.\n", append(to, "-no_result_term", "-a", "erlang node", "-e")...) })
		t.Run("output", func(t *testing.T) {
			const expr = `io:format("a~ts~n", ["\x{3c0}"]), spawn_monitor(fun() -> io:put_chars("b\n") end), receive {'DOWN',_,_,_,_} -> {x, 1} end.
`
			for _, flags := range [][]string{{"-fetch_stdout"}, {"-fetch_stdout", "-no_result_term"}} {
				own := same(t, expr, append(append(to, "-e"), flags...)...)
				require.Contains(t, own.out, "aπ\nb\n")
				same(t, "", append(append(to, "-a", "io put_chars [\"seen\"]"), flags...)...)
			}
		})
		t.Run("module", func(t *testing.T) {
			same(t, "-module(erlcallmod).\n-export([start/0, f/1]).\nstart() -> {started, \"x\"}.\nf(X) -> X.\n",
				append(to, "-m", "-a", "erlcallmod")...)
			same(t, "", append(to, "-a", "erlcallmod f [z]")...)
		})
		t.Run("another host", func(t *testing.T) {
			own := same(t, "", "-name", n.Alive()+"@localhost", "-c", n.Cookie(), "-a", "erlang node")
			require.Equal(t, "'"+n.Name()+"'", own.out, own.errOut)
		})
		t.Run("wrong cookie", func(t *testing.T) { same(t, "", "-name", n.Name(), "-c", "wrong", "-a", "erlang node") })
		t.Run("no such node", func(t *testing.T) { same(t, "", "-name", "nobody@127.0.0.1", "-c", "c", "-a", "erlang node") })
		t.Run("no such node to halt", func(t *testing.T) { same(t, "", "-name", "nobody@127.0.0.1", "-c", "c", "-q") })
		t.Run("time", func(t *testing.T) { same(t, "", append(to, "-timeout", "1", "-a", "timer sleep [60000]")...) })
		t.Run("cookie file", func(t *testing.T) {
			file := filepath.Join(p.dir, ".erlang.cookie")
			require.NoError(t, os.WriteFile(file, []byte(n.Cookie()), 0o400))
			require.Equal(t, "'"+n.Name()+"'", same(t, "", "-name", n.Name(), "-a", "erlang node").out)
			require.NoError(t, os.Remove(file))
		})
		t.Run("address", func(t *testing.T) {
			_, port, ok := strings.Cut(p.run(t, r.Command("epmd"), "", "-names").out, n.Alive()+" at port ")
			require.True(t, ok)
			port = strings.TrimSpace(port)
			for _, at := range []string{port, ":" + port, "127.0.0.1:" + port, "localhost:" + port} {
				same(t, "", "-address", at, "-c", n.Cookie(), "-a", "erlang node")
			}
			same(t, "", "-address", "127.0.0.1:1", "-c", n.Cookie(), "-a", "erlang node")
		})
		t.Run("own name", func(t *testing.T) {
			for flags, want := range map[string]string{"": `^\[c17@.*\]$`, "-h me": `^\[me@.*\]$`, "-r": `^\[c[0-9]{1,3}@.*\]$`,
				"-R":       `^\['?[0-9A-Z]+@.*\]$`,
				"-R -h me": `^\[me@.*\]$`} {
				args := append(append(to, "-a", "erlang nodes [hidden]"), strings.Fields(flags)...)
				for _, program := range []string{r.Command("erl_call"), ours(t)} {
					require.Eventually(t, func() bool { return n.Eval(t, "nodes(hidden)") == "[]" }, limit, 10*time.Millisecond)
					require.Regexp(t, want, p.run(t, program, "", args...).out)
				}
			}
		})
	})
}

// What erl_call cannot do.
func TestMore(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		n := r.Start(t, otp.Options{})
		p := place{t.TempDir(), n.EpmdPort()}
		to := []string{"-name", n.Name(), "-c", n.Cookie()}
		for call, want := range map[string]string{
			`  erlang node `:                     "'" + n.Name() + "'",
			`erlang hd [[a|b]]`:                  "a",
			`erlang byte_size [<<"abc">>]`:       "3",
			`maps get [b, #{a => 1, b => "x"}]`:  `"x"`,
			`erlang abs [-16#ff]`:                "255",
			`erlang atom_to_list ['it\'s']`:      `"it's"`,
			`erlang list_to_atom [[$a, 16#3c0]]`: "'aπ'",
		} {
			r := p.run(t, ours(t), "", append(to, "-a", call)...)
			require.Equal(t, result{want, "", 0}, r, call)
		}
		bad := p.run(t, ours(t), "-module(erlcallbad).\nf( -> x.\n", append(to, "-m", "-a", "erlang node")...)
		require.Equal(t, "'"+n.Name()+"'", bad.out)
		require.Contains(t, bad.errOut, "erlcallbad.erl does not compile")
		gone := p.run(t, ours(t), "", append(to, "-a", "erlang halt")...)
		require.Equal(t, exitCall, gone.code)
	})
}

// An Erlang node that only IPv6 reaches.
func TestIPv6(t *testing.T) {
	need.IPv6(t)
	r := otp.Releases(t)[0]
	n := r.Start(t, otp.Options{Name: "six@::1",
		ExtraArgs: []string{"-proto_dist", "inet6_tcp", "-kernel", "inet_dist_use_interface", "{0,0,0,0,0,0,0,1}"}})
	p := place{t.TempDir(), n.EpmdPort()}
	_, port, ok := strings.Cut(p.run(t, r.Command("epmd"), "", "-names").out, "six at port ")
	require.True(t, ok)
	own := p.run(t, ours(t), "", "-address", "[::1]:"+strings.TrimSpace(port), "-c", n.Cookie(), "-a", "erlang node")
	require.Equal(t, result{"'six@::1'", "", 0}, own)
}

// Start, use, and halt a node: it outlives the command that has started it.
func TestStart(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o755))
		p := place{dir, r.Epmd(t)}
		name := fmt.Sprintf("start%d", r.Number)
		to := []string{"-name", name + "@127.0.0.1", "-c", "secret", "-x", r.Erl}
		defer p.run(t, ours(t), "", append(to, "-q")...)

		down := p.run(t, ours(t), "", append(to, "-a", "erlang node")...)
		require.Equal(t, 1, down.code)
		first := p.run(t, ours(t), "", append(to, "-s", "-d", "-a", "os getpid")...)
		require.Equal(t, 0, first.code, first.errOut)
		second := p.run(t, ours(t), "", append(to, "-s", "-a", "os getpid")...)
		require.Equal(t, first.out, second.out, "the node has to be the same")
		require.Empty(t, second.errOut)
		log, err := os.ReadFile(filepath.Join(dir, ".erl_start.out."+name))
		require.NoError(t, err)
		require.Contains(t, string(log), "===== Log started ======")

		require.Equal(t, result{}, p.run(t, ours(t), "", append(to, "-q")...))
		require.Eventually(t, func() bool {
			return !strings.Contains(p.run(t, r.Command("epmd"), "", "-names").out, name)
		}, limit, 50*time.Millisecond)
	})
}
