package interop

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// What one process sends arrives in that order, and comes back in it.
func TestServeOrder(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`Numbers = lists:seq(1, 10000),
				[{peer, N} ! {echo, self(), I} || I <- Numbers],
				[receive I -> I after 20000 -> lost end || _ <- Numbers] =:= Numbers`, `true`},
			// Sizes on both sides of what is combined, and of what is written from its caller's
			// buffers.
			{`Sizes = [1, 100000, 0, 16383, 1000000, 2, 64, 16384, 131072, 65536],
				[{peer, N} ! {echo, self(), {I, binary:copy(<<"x">>, S)}} || I <- lists:seq(1, 20), S <- Sizes],
				[receive {I, B} when byte_size(B) =:= S -> I; X -> X after 20000 -> lost end || I <- lists:seq(1, 20), S <- Sizes]
					=:= [I || I <- lists:seq(1, 20), _ <- Sizes]`, `true`},
			// All ways to send, mixed: a call's reply comes after what was sent before.
			{`[begin {peer, N} ! {echo, self(), I}, {ok, I} = gen_server:call({peer, N}, I, infinity), receive I -> ok after 0 -> I end end
				|| I <- lists:seq(1, 200)] -- lists:duplicate(200, ok)`, `[]`},
		})
	})
}

// Many senders do not disturb each other's order.
func TestServeManySenders(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`Self = self(),
				Senders = [spawn_link(fun() -> [{peer, N} ! {echo, Self, {self(), I}} || I <- lists:seq(1, 200)] end) || _ <- lists:seq(1, 50)],
				All = [receive {From, I} -> {From, I} after 20000 -> lost end || _ <- lists:seq(1, 10000)],
				[S || S <- Senders, [I || {From, I} <- All, From =:= S] =/= lists:seq(1, 200)]`, `[]`},
			{`Refs = [element(2, spawn_monitor(fun() ->
					[{peer, N} ! {echo, self(), I} || I <- lists:seq(1, 200)],
					exit([receive M -> M after 20000 -> lost end || _ <- lists:seq(1, 200)] =:= lists:seq(1, 200)) end)) || _ <- lists:seq(1, 50)],
				lists:usort([receive {'DOWN', R, process, _, Why} -> Why end || R <- Refs])`, `[true]`},
		})
	})
}

func TestServeSinkAndSource(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`[{peer, N} ! {sink, self(), I =:= 10000, <<I:64>>} || I <- lists:seq(1, 10000)], receive X -> X after 20000 -> lost end`,
				`{count,10000}`},
			{`{peer, N} ! {sink, self(), true, <<>>}, receive X -> X after 20000 -> lost end`, `{count,1}`},
			// Each process has a count of its own.
			{`Refs = [element(2, spawn_monitor(fun() ->
					[{peer, N} ! {sink, self(), I =:= C, <<0:(8 * C)>>} || I <- lists:seq(1, C)],
					exit(receive {count, C} -> ok; X -> X after 20000 -> lost end) end)) || C <- lists:seq(1, 100)],
				lists:usort([receive {'DOWN', R, process, _, Why} -> Why end || R <- Refs])`, `[ok]`},
			{`{peer, N} ! {source, self(), 10000, {a, <<"b">>}},
				lists:usort([receive X -> X after 20000 -> lost end || _ <- lists:seq(1, 10000)])`, `[{a,<<"b">>}]`},
			{`{peer, N} ! {source, self(), 50, binary:copy(<<"x">>, 1000000)},
				lists:usort([receive X -> byte_size(X) after 20000 -> lost end || _ <- lists:seq(1, 50)])`, `[1000000]`},
			// Messages that are not requests are ignored.
			{`[{peer, N} ! X || X <- [nonsense, {echo, no_pid, 1}, {echo, self()}, {sink, self(), perhaps, <<>>}, {source, self(), many, 1},
				[], <<>>]],
				{peer, N} ! {source, self(), 0, x}, {peer, N} ! {source, self(), -1, x},
				{ok, still} = gen_server:call({peer, N}, still, infinity), receive X -> X after 0 -> nothing end`, `nothing`},
			{`{nobody, N} ! hello, {ok, there} = gen_server:call({peer, N}, there, infinity)`, `{ok,there}`},
		})
	})
}

// An alias takes a pid's place wherever a process waits for an answer, as in Erlang.
func TestServeAliases(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		const next = `receive X -> X after 20000 -> none end`
		newPair(t, r).is(t, [][2]string{
			{`A = alias(), {peer, N} ! {echo, A, hello}, ` + next, `hello`},
			{`A = alias(), [{peer, N} ! {echo, A, I} || I <- lists:seq(1, 1000)],
				[receive I -> I after 20000 -> none end || I <- lists:seq(1, 1000)] =:= lists:seq(1, 1000)`, `true`},
			{`A = alias(), B = binary:copy(<<"x">>, 3000000), {peer, N} ! {echo, A, B}, receive B -> ok after 20000 -> none end`, `ok`},
			{`A = alias(), [{peer, N} ! {sink, A, I =:= 7, <<>>} || I <- lists:seq(1, 7)], ` + next, `{count,7}`},
			{`A = alias(), {peer, N} ! {source, A, 3, x}, [` + next + ` || _ <- [1, 2, 3]]`, `[x,x,x]`},
			{`A = alias([reply]), {peer, N} ! {echo, A, once}, {peer, N} ! {echo, A, twice},
				{ok, 1} = gen_server:call({peer, N}, 1, infinity), [` + next + `, receive Y -> Y after 0 -> nothing end]`, `[once,nothing]`},
			{`A = alias(), R = make_ref(), {peer, N} ! {'$gen_call', {A, R}, q}, receive {R, V} -> V after 20000 -> none end`, `{ok,q}`},
			{`A = alias(), {net_kernel, N} ! {'$gen_call', {A, tag}, {is_auth, node()}}, ` + next, `{tag,yes}`},
			{`A = alias(), {rex, N} ! {'$gen_call', {A, tag}, {call, cnode, echo, [z], user}}, ` + next, `{tag,z}`},
			{`A = alias(), {rex, N} ! {A, {call, cnode, echo, [z], user}}, ` + next, `{rex,z}`},
			{`A = alias(), unalias(A), {peer, N} ! {echo, A, lost}, {peer, N} ! {'$gen_call', {A, tag}, lost},
				{ok, 1} = gen_server:call({peer, N}, 1, infinity), receive X -> X after 0 -> nothing end`, `nothing`},
		})
	})
}

// Large results of calls that run at the same time do not end the connection, nor do messages sent
// meanwhile.
func TestServeLargeResults(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`B = binary:copy(<<"x">>, 3000000),
				Refs = [element(2, spawn_monitor(fun() -> exit(rpc:call(N, cnode, echo, [B]) =:= B) end)) || _ <- lists:seq(1, 10)],
				[{peer, N} ! {echo, self(), B} || _ <- lists:seq(1, 10)],
				{lists:usort([receive {'DOWN', R, process, _, Why} -> Why end || R <- Refs]),
				 lists:usort([receive X -> byte_size(X) after 20000 -> lost end || _ <- lists:seq(1, 10)])}`, `{[true],[3000000]}`},
			// Signals that want an answer at once, behind more bytes than a connection queues.
			{`B = binary:copy(<<"x">>, 9000000),
				[begin {peer, N} ! {echo, self(), B},
					{P, R} = spawn_monitor(N, cnode, echo, [1]), receive {'DOWN', R, process, P, normal} -> ok end,
					receive B -> ok after 20000 -> lost end end || _ <- lists:seq(1, 5)]`, `[ok,ok,ok,ok,ok]`},
		})
	})
}
