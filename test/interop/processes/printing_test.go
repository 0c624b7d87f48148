package processes

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/stretchr/testify/require"
)

// What a function prints appears at the caller's group leader: a file that Erlang has opened, and
// the node's user.
func printsToTheCaller(t *testing.T, m *meeting) {
	// to a file, which is a group leader like any other
	with := func(call string) string {
		return fmt.Sprintf(`File = filename:join([os:getenv("HOME"), "out"]), {ok, F} = file:open(File, [write, {encoding, utf8}]),
	GL = group_leader(),
			group_leader(F, self()), %s, group_leader(GL, self()), ok = file:close(F), {ok, B} = file:read_file(File), B`, call)
	}
	m.is(t, `<<"one\ntwo é\n"/utf8>>`, with(`ok = rpc:call(N, p, print, [<<"one\n">>]), ok = rpc:call(N, p, print, [<<"two é\n"/utf8>>])`))
	m.is(t, `<<"one">>`, with(`ok = erpc:call(N, p, print, [<<"one">>])`))
	m.is(t, `<<"one">>`, with(`ok = rpc:block_call(N, p, print, [<<"one">>])`))
	m.is(t, `<<"one">>`, with(`process_flag(trap_exit, true),
	P = spawn_link(N, p, print, [<<"one">>]), receive {'EXIT', P, normal} -> process_flag(trap_exit, false) end`))
	m.is(t, `<<"one">>`, with(`{P, R} = spawn_monitor(N, p, print, [<<"one">>]), receive {'DOWN', R, _, _, normal} -> ok end`))
	m.is(t, `<<"one">>`, with(`Job = erpc:send_request(N, p, print, [<<"one">>]), ok = erpc:receive_response(Job)`))
	m.is(t, "enotsup", `rpc:call(N, p, columns, [])`)

	// to the node's own user
	m.is(t, "ok", `GL = group_leader(), group_leader(whereis(user), self()),
	R = rpc:call(N, p, print, [<<"to the user\n">>]), group_leader(GL, self()), R`)
	require.Eventually(t, func() bool { return strings.Contains(m.erl.Log(), "to the user\n") }, limit, tick)

	// a group leader that has ended is the function's error
	m.is(t, "true", `L = spawn(fun() -> ok end), GL = group_leader(), group_leader(L, self()),
	R = rpc:call(N, p, print, [<<"x">>]), group_leader(GL, self()),
		{badrpc, {'EXIT', {{go_error, Text}, _}}} = R, nomatch =/= binary:match(Text, <<"I/O device has ended">>)`)
	// one that never answers holds up nobody but those who print to it
	m.is(t, "{badrpc,timeout}", `L = spawn(fun() -> receive never -> ok end end), GL = group_leader(), group_leader(L, self()),
		R = rpc:call(N, p, print, [<<"x">>], 300), group_leader(GL, self()), exit(L, kill), R`)
	m.isIdle(t, own)
}

// A shell shows what functions print that are called there, and answers what they ask.
func TestPrintsInAShell(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := startNode(t, "shell"+r.String()+"@127.0.0.1", port)
		cmd := exec.CommandContext(t.Context(), r.Erl, "-name", "user"+r.String()+"@127.0.0.1", "-setcookie", otp.DefaultCookie,
			"-start_epmd", "false",
			"-kernel", "inet_dist_use_interface", "{127,0,0,1}")
		dir := t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=dumb", fmt.Sprintf("ERL_EPMD_PORT=%d", port))
		cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out := &page{}
		cmd.Stdout, cmd.Stderr = out, out
		require.NoError(t, cmd.Start())
		seen := ""
		sees := func(text string) {
			t.Helper()
			require.Eventually(t, func() bool { seen += out.take(); return strings.Contains(seen, text) }, limit, tick, "%s", text)
			_, seen, _ = strings.Cut(seen, text)
		}
		types := func(format string, args ...any) { fmt.Fprintf(in, format+"\n", args...) }
		types("N = '%s'.", n.Name())
		types("erpc:call(N, p, print, [<<\"printed \\x{e9}\"/utf8>>]), rpc:call(N, p, print, [<<\"and more\\n\">>]).")
		sees("printed")
		sees("and more\n")
		sees("ok")
		types("spawn_link(N, p, print, [<<\"by a process\\n\">>]).")
		sees("by a process\n")
		types("{answer, rpc:call(N, p, ask, [<<\"your name? \">>])}.")
		sees("your name? ")
		types("Joe")
		sees(`{answer,<<"Joe\n">>}`)
		types("halt().")
		in.Close()
		require.NoError(t, cmd.Wait())
	})
}

// Elixir's Node.spawn_link and :erpc, whose group leader is the script's.
func TestPrintsInElixir(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n := startNode(t, "elixir@127.0.0.1", port)
		script := `
			n = :"` + n.Name() + `"
			Process.flag(:trap_exit, true)
			pid = Node.spawn_link(n, :p, :print, ["one\n"])
			receive do {:EXIT, ^pid, :normal} -> :ok end
			:ok = :erpc.call(n, :p, :print, ["two\n"])
			{:ok, device} = StringIO.open("typed\nmore")
			leader = Process.group_leader()
			Process.group_leader(self(), device)
			:ok = :rpc.call(n, :p, :print, ["three"])
			line = :rpc.call(n, :p, :ask, ["?"])
			chars = :rpc.call(n, :p, :chars, [4])
			:eof = :rpc.call(n, :p, :ask, ["?"])
			Process.group_leader(self(), leader)
			IO.inspect({line, chars, StringIO.contents(device)})
			pid = Node.spawn_link(n, :p, :converse, [])
			send(pid, {self(), :hello})
			receive do {^pid, :hello} -> IO.puts("hello") end
			send(pid, {:exit, :enough})
			receive do {:EXIT, ^pid, reason} -> IO.inspect(reason) end
		`
		require.Equal(t, "one\ntwo\n{\"typed\\n\", \"more\", {\"\", \"three\"}}\nhello\n:enough\n",
			e.Prints(t, port, "ex@127.0.0.1", script, "ELIXIR_ERL_OPTIONS=+fnu"))
	})
}

// A function of Go reads from a device of Erlang, with its options.
func readsFromADevice(t *testing.T, m *meeting) {
	with := func(call string) string {
		return fmt.Sprintf(`File = filename:join([os:getenv("HOME"), "in"]), ok = file:write_file(File, <<"first é\nsecond\nlast"/utf8>>),
			{ok, F} = file:open(File, [read, {encoding, utf8}]),
	GL = group_leader(), group_leader(F, self()), R = %s, group_leader(GL, self()), ok = file:close(F), R`, call)
	}
	m.is(t, `[<<"first é\n"/utf8>>,<<"sec">>,<<"ond\n">>,<<"last">>,eof]`,
		with(`[rpc:call(N, p, ask, [<<>>]), rpc:call(N, p, chars, [3]) | [rpc:call(N, p, ask, [<<>>]) || _ <- [1, 2, 3]]]`))
	m.is(t, `true`, with(`lists:member({binary, true}, rpc:call(N, p, options, [[{binary, true}]]))`))
	m.is(t, `<<"first é\n"/utf8>>`, with(`begin rpc:call(N, p, options, [[{binary, true}]]), rpc:call(N, p, ask, [<<>>]) end`))
	m.is(t, `true`, with(`begin {badrpc, {'EXIT', _}} = rpc:call(N, p, options, [[{no_option, 1}]]), true end`))
	m.isIdle(t, own)
}

// Functions of Erlang print to a group leader of Go: each format as Erlang itself has it.
func erlangPrintsToGo(t *testing.T, m *meeting) {
	out := &page{}
	leader, err := groupleader.Serve(m.n, "user", out, &groupleader.Options{Columns: 80, Rows: 25})
	require.NoError(t, err)
	ctx := nodes.WithGroupLeader(expect.Context(t), leader.Pid())
	call := func(module, function string, args ...any) (ei.Term, error) {
		return m.n.RPC(ctx, m.erl.Name(), module, function, args...)
	}
	for _, expr := range formats {
		term, err := ei.Parse("[" + expr + "]")
		require.NoError(t, err, expr)
		args, _ := ei.Elements(term)
		want := m.erl.Eval(t, fmt.Sprintf(`try unicode:characters_to_binary(io_lib:format(%s))
	of B -> base64:encode_to_string(B) catch _:_ -> failed end`, expr))
		reply, err := call("io", "format", args[0], args[1])
		if want == "failed" {
			require.Error(t, err, expr)
			require.Empty(t, out.take(), expr)
			continue
		}
		require.NoError(t, err, expr)
		require.Equal(t, ei.Atom("ok"), reply)
		got := m.erl.Eval(t, fmt.Sprintf(`base64:encode_to_string(<<%s>>)`, bytesOf(out.take())))
		require.Equal(t, want, got, expr)
	}
	for expr, want := range map[string]string{
		`io:put_chars("a\x{e9}\x{20ac}")`:              "aé€",
		`io:put_chars(<<"a\x{e9}\x{20ac}"/utf8>>)`:     "aé€",
		`io:put_chars(["a", [<<"b">>, $c]])`:           "abc",
		`io:nl()`:                                      "\n",
		`io:write({a, "b", <<1>>})`:                    `{a,[98],<<1>>}`,
		`io:fwrite("~s!", [x])`:                        "x!",
		`begin io:put_chars("1"), io:format("2") end`:  "12",
		`io:requests([{put_chars, unicode, "x"}, nl])`: "x\n",
		`io:format(standard_io, "~p", [ok])`:           "ok",
	} {
		require.Equal(t, "ok", m.under(t, leader.Pid(), expr), expr)
		require.Equal(t, want, out.take(), expr)
	}
	for expr, want := range map[string]string{
		`io:columns()`:                          "{ok,80}",
		`io:rows()`:                             "{ok,25}",
		`io:getopts()`:                          "[{binary,false},{encoding,unicode}]",
		`io:setopts([{echo, false}])`:           "{error,enotsup}",
		`io:get_line("")`:                       "{error,enotsup}",
		`io:request({no_such_request, 1})`:      "{error,request}",
		`catch io:put_chars([not_a_character])`: "{'EXIT',",
	} {
		require.Contains(t, m.under(t, leader.Pid(), expr), want, expr)
		require.Empty(t, out.take(), expr)
	}
	leader.Close()
	require.Contains(t, m.under(t, leader.Pid(), `catch io:put_chars("late")`), "terminated")
}

// under evaluates with a group leader.
func (m *meeting) under(t testing.TB, leader ei.Pid, expr string) string {
	t.Helper()
	_, err := m.n.RPC(expect.Context(t), m.erl.Name(), "persistent_term", "put", ei.Atom("leader"), leader)
	require.NoError(t, err)
	return m.erl.Eval(t, fmt.Sprintf(`GL = group_leader(), group_leader(persistent_term:get(leader), self()), R = (%s),
		group_leader(GL, self()), R`, expr))
}

func bytesOf(text string) string {
	var all []string
	for _, b := range []byte(text) {
		all = append(all, fmt.Sprint(b))
	}
	return strings.Join(all, ",")
}

var formats = []string{
	`"plain", []`, `"~~ ~n", []`, `"~3n|", []`, `"~s ~s", ["text", atom]`, `"~ts", [[1087, 1088]]`, `"~ts", [<<"é"/utf8>>]`,
	`"~s", [<<"é"/utf8>>]`,
	`"~s", [["a", <<"b">>, [$c]]]`, `"~10s|", ["abc"]`, `"~-10s|", ["abc"]`, `"~10.2s|", ["abcdef"]`, `"~.2s|", ["abcdef"]`, `"~.5s|", ["ab"]`,
	`"~3s|", ["abcdef"]`, `"~10..*s|", ["ab"]`, `"~*s|", [5, "ab"]`, `"~10.5._s|", ["ab"]`,
	`"~w ~w", [{a, "text", <<"bin">>, 1.5, [1, 2 | 3]}, #{a => 1}]`, `"~10w|", [abc]`, `"~-10w|", [abc]`, `"~2w|", [abcdef]`, `"~w", ['A b']`,
	`"~w", [[]]`,
	`"~p", [{a, "text", <<"bin">>, 1.5, [1, 2 | 3], #{a => "b"}}]`, `"~p", [[]]`, `"~p", ["with \"quotes\"\n"]`, `"~p", [<<1, 2>>]`,
	`"~p", [<<>>]`,
	`"~p", [[1, 2, 3]]`, `"~p", [1.0e20]`, `"~p", [<<5:3>>]`, `"~lp", ["text"]`, `"~0p", [{a, b}]`, `"~tp", [<<"é"/utf8>>]`,
	`"~p", [fun lists:map/2]`,
	`"~p", [123456789012345678901234567890]`, `"~P", [[a, b, c, d, e], 3]`, `"~W", [{a, b, c, d}, 3]`, `"~P", [{a, {b, {c, {d}}}}, 3]`,
	`"~P", ["abcdef", 3]`,
	`"~b ~B", [10, -10]`, `"~.16b ~.16B", [255, 255]`, `"~8.16.0b|", [255]`, `"~5b|~-5b|", [42, 42]`, `"~2b", [12345]`,
	`"~.16x ~.16X", [255, "0x", -255, "0x"]`,
	`"~.16# ~.16+ ~#", [255, 255, 10]`, `"~f ~.2f ~10.3f|", [1.5, 3.14159, 2.0]`, `"~e ~.3e", [12345.678, 0.001]`,
	`"~g ~g ~g", [0.5, 123.456, 1.0e9]`,
	`"~g ~.3g", [0.01, 5.0]`, `"~g ~g ~g ~g ~g", [0.0, 1.0, 10.0, 9999.5, 10000.0]`, `"~c~c", [$a, 8364]`, `"~tc", [8364]`, `"~3c|", [$a]`,
	`"~5.2c|", [$a]`, `"~i~s", [ignored, "x"]`,
	`"~s", [1]`, `"~s", []`, `"~b", [x]`, `"~f", [1]`, `"~z", [1]`, `"x", [1]`, `"~", []`, `"~p ~p", [1]`,
}

// Functions of Erlang read from a device of Go.
func erlangReadsFromGo(t *testing.T, m *meeting) {
	in, typed := io.Pipe()
	defer typed.Close()
	out := &page{}
	device, err := groupleader.Serve(m.n, "", out, &groupleader.Options{In: in})
	require.NoError(t, err)
	go func() {
		fmt.Fprintf(typed, "a line é\n12345rest\n{term, [1, \"two\"]}.\n7 seven\nbinary\n{several,\nlines}. more\nlast")
		typed.Close()
	}()
	for _, tt := range [][2]string{
		{`io:get_line("line> ")`, `"a line é\n"`},
		{`io:get_chars("chars> ", 5)`, `"12345"`},
		{`io:get_line("")`, `"rest\n"`},
		{`io:read("term> ")`, `{ok,{term,[1,"two"]}}`},
		{`io:fread("fields> ", "~d ~a")`, `{ok,[7,seven]}`},
		{`begin ok = io:setopts([{binary, true}]), R0 = io:get_line(""), ok = io:setopts([list]), R0 end`, `<<"binary\n">>`},
		{`io:read("")`, `{ok,{several,lines}}`},
		{`io:get_line("")`, `"more\n"`},
		{`io:get_chars("", 100)`, `"last"`},
		{`io:get_line("")`, `eof`},
		{`io:read("")`, `eof`},
	} {
		got := m.under(t, device.Pid(), tt[0])
		if strings.Contains(tt[1], "é") { // ~0tp shows it as the node's range of characters has it
			require.Contains(t, []string{tt[1], `[97,32,108,105,110,101,32,233,10]`}, got, tt[0])
			continue
		}
		require.Equal(t, tt[1], got, tt[0])
	}
	require.Equal(t, "line> chars> term> fields> ", out.take())
}
