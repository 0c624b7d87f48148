package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// flowBlock is a piece of code of docs/how-to/slow-receivers.md, which begins so.
func flowBlock(t *testing.T, language, begins string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/how-to/slow-receivers.md")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(page), "```"+language+"\n"+begins)
	require.True(t, ok, "the page has the code")
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	return begins + code
}

func epmdEnviron(port int) []string {
	return append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8")
}

// What docs/how-to/slow-receivers.md shows works, from Erlang: a producer with credit, whose
// consumer has no more unread than its window, a consumer that asks, and calls. One without credit
// ends its consumer.
func TestBackpressureWithErlang(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/backpressure")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		cmd := exec.Command(node)
		cmd.Env = epmdEnviron(port)
		otp.Serve(t, cmd)
		erl.Load(t, flowBlock(t, "erlang", "-module(producer)"))
		for _, items := range []int{0, 1, 50, 100, 101, 5000} {
			require.Equal(t, fmt.Sprint(items*20_000),
				erl.Eval(t, fmt.Sprintf("producer:send('flow@127.0.0.1', lists:duplicate(%d, binary:copy(<<0>>, 20000)))", items)))
		}
		calls := strings.TrimSpace(flowBlock(t, "erlang", "[gen_server:call("))
		require.Equal(t, "[0,7]", erl.Eval(t, `Items = [<<>>, <<"seven..">>], `+strings.TrimSuffix(calls, ".")))
		require.Equal(t, "[[1,2,3],[4,5,6,7],done]", erl.Eval(t, `P = spawn_link('flow@127.0.0.1', flow, produce, [self(), 7]),
			P ! {ask, 3}, receive {P, {events, A}} -> ok end, P ! {ask, 100}, receive {P, {events, B}} -> [A, B, receive {P, D} -> D end] end`))
		require.Equal(t, "mailbox_full", erl.Eval(t, `{P, R} = spawn_monitor('flow@127.0.0.1', flow, consume, [self()]),
			S = spawn(fun F() -> P ! binary:copy(<<0>>, 20000), F() end), receive {'DOWN', R, process, P, Why} -> exit(S, kill), Why end`))
	})
}

// The same from Elixir.
func TestBackpressureWithElixir(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/backpressure")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		serve := exec.Command(node)
		serve.Env = epmdEnviron(port)
		otp.Serve(t, serve)
		text := "Node.set_cookie(:secret)\n" + flowBlock(t, "elixir", "defmodule Consumer") + `
			for last <- [0, 1, 99, 100, 101, 10_000] do
			  events = Enum.to_list(Consumer.stream(:"flow@127.0.0.1", last))
			  ^events = Enum.to_list(1..last//1)
			end
			[1, 2, 3] = Enum.take(Consumer.stream(:"flow@127.0.0.1", 1_000_000, 10), 3)
			items = Enum.map(1..50, &String.duplicate("x", &1))
			results = ` + flowBlock(t, "elixir", "items |> Task") + `
			^results = Enum.map(1..50, &{:ok, &1})
			IO.puts("all of it")`
		require.Equal(t, "all of it\n", e.Prints(t, port, "ex@127.0.0.1", text))
	})
}
