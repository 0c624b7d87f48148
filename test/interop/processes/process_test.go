package processes

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// A function that Erlang spawns or calls is a process, as seen from there.
func functionIsAProcess(t *testing.T, m *meeting) {
	// by every way of calling: itself, its parent and its group leader
	m.is(t, "true", `GL = group_leader(), Self = self(), {P, Self, GL} = rpc:call(N, p, who, []), node(P) =:= N`)
	m.is(t, "true", `GL = group_leader(), Self = self(), {P, Self, GL} = rpc:call(N, p, who, [], 20000), node(P) =:= N`)
	m.is(t, "true", `GL = group_leader(), Self = self(), {P, Self, GL} = erpc:call(N, p, who, []), node(P) =:= N`)
	m.is(t, "true", `GL = group_leader(), {P, C, GL} = rpc:block_call(N, p, who, []), is_pid(C) andalso node(P) =:= N`)
	m.is(t, "true", `GL = group_leader(), Self = self(), P = spawn(N, p, tell, [Self]), receive {P, Self, GL} -> true end`)
	m.is(t, "true", `GL = group_leader(), Self = self(), ok = erpc:cast(N, p, tell, [Self]), receive {P, Self, GL} -> node(P) =:= N end`)
	m.is(t, "true", `GL = group_leader(), Self = self(), true = rpc:cast(N, p, tell, [Self]),
	receive {P, C, GL} -> is_pid(C) andalso node(P) =:= N end`)
	m.is(t, "true", `L = spawn(fun() -> receive stop -> ok end end), Self = self(),
		Me = group_leader(), group_leader(L, Self), P = spawn(N, p, tell, [Self]), group_leader(Me, Self),
		receive {P, Self, L} -> L ! stop, true end`)
	m.isIdle(t, own)

	// a conversation, with what is sent at once
	m.is(t, "[1,2,3]", `P = spawn(N, p, converse, []), [P ! {self(), I} || I <- [1, 2, 3]],
		R = [receive {P, I} -> I end || I <- [1, 2, 3]], P ! {exit, normal}, R`)
	m.isIdle(t, own)

	// exit reasons
	m.is(t, "{boom,1}", `{P, R} = spawn_monitor(N, p, converse, []), P ! {exit, {boom, 1}}, receive {'DOWN', R, process, P, Why} -> Why end`)
	m.is(t, "{killed,killed}", `process_flag(trap_exit, true), P = spawn_link(N, p, converse, []), R = monitor(process, P), exit(P, kill),
		K = receive {'DOWN', R, process, P, A} -> A end, receive {'EXIT', P, B} -> process_flag(trap_exit, false), {K, B} end`)
	m.is(t, "noproc", `P = spawn(N, p, converse, []), Q = monitor(process, P), P ! {exit, normal},
	receive {'DOWN', Q, _, _, normal} -> ok end,
		R = monitor(process, P), receive {'DOWN', R, _, _, Why} -> Why end`)
	m.is(t, "true", `P = spawn(N, p, converse, []), P ! nonsense, R = monitor(process, P),
	receive {'DOWN', R, _, _, {{go_error, B}, _}} -> is_binary(B);
	{'DOWN', R, _, _, noproc} -> true end`)
	m.isIdle(t, own)
}

// Links both ways, trap_exit at run time, monitors and names.
func linksAndTraps(t *testing.T, m *meeting) {
	// spawn_link: the parent's end is the function's …
	m.is(t, "shutdown", `Me = self(), {Parent, _} = spawn_monitor(fun() -> P = spawn_link(N, p, converse, []), Me ! {child, P},
	receive R -> exit(R) end end),
		P = receive {child, X} -> X end, R = monitor(process, P), Parent ! shutdown, receive {'DOWN', R, process, P, Why} -> Why end`)
	// … and the other way round
	m.is(t, "oops", `{Parent, R} = spawn_monitor(fun() -> P = spawn_link(N, p, converse, []), P ! {exit, oops}, receive never -> ok end end),
		receive {'DOWN', R, process, Parent, Why} -> Why end`)
	// a link from Go, of a process that traps exits
	m.is(t, "{exit,bye}", `L = spawn(fun() -> receive R -> exit(R) end end), P = spawn(N, p, converse, []), Me = self(),
		[P ! M || M <- [{tell, Me}, {trap, true}, {link, L}, {Me, ready}]], receive {P, ready} -> ok end, L ! bye,
		receive {P, K, L, Why} -> P ! {exit, normal}, {K, Why} end`)
	// exit/2 is a message until the function traps no more
	m.is(t, "[{exit,one},two]", `P = spawn(N, p, converse, []), Me = self(), R = monitor(process, P),
	[P ! M || M <- [{tell, Me}, {trap, true}, {Me, ready}]],
		receive {P, ready} -> ok end, exit(P, one), A = receive {P, K, Me, Why} -> {K, Why} end,
		[P ! M || M <- [{trap, false}, {Me, ready}]], receive {P, ready} -> ok end, exit(P, two), [A, receive {'DOWN', R, _, _, B} -> B end]`)
	// a monitor from Go
	m.is(t, "{down,gone}", `L = spawn(fun() -> receive R -> exit(R) end end), P = spawn(N, p, converse, []), Me = self(),
		[P ! M || M <- [{tell, Me}, {monitor, L}, {Me, ready}]], receive {P, ready} -> ok end, L ! gone,
		receive {P, K, L, Why} -> P ! {exit, normal}, {K, Why} end`)
	// a name, free again at the end
	m.is(t, "[5,noproc]", `{P, R} = spawn_monitor(N, p, converse, []), [P ! M || M <- [{name, worker}, {self(), ready}]],
	receive {P, ready} -> ok end,
		{worker, N} ! {self(), 5}, A = receive {P, X} -> X end, {worker, N} ! {exit, normal}, receive {'DOWN', R, _, _, normal} -> ok end,
		Q = monitor(process, {worker, N}), [A, receive {'DOWN', Q, _, _, Why} -> Why end]`)
	// the function's own connection ends: so do its links
	m.isIdle(t, own)
	m.is(t, "noconnection", `process_flag(trap_exit, true), P = spawn_link(N, p, converse, []), erlang:disconnect_node(N),
		receive {'EXIT', P, Why} -> process_flag(trap_exit, false), Why end`)
	m.isIdle(t, own)
}

// Ten thousand functions at once, and a storm of messages for one that does not read.
func manyFunctions(t *testing.T, m *meeting) {
	m.n = startNode(t, "many@127.0.0.1", m.erl.EpmdPort(), func(cfg *nodes.Config) { cfg.MaxCalls, cfg.OverflowLimit = 40_000, 256<<20 })
	m.is(t, "10000", `Me = self(), Ps = [spawn(N, p, converse, []) || _ <- lists:seq(1, 10000)], [P ! {Me, 7} || P <- Ps],
		L = length([receive {P, 7} -> P end || P <- Ps]), [P ! {exit, normal} || P <- Ps], L`)
	m.isIdle(t, own)

	m.n.Expose("p", "sleep", nodes.FuncOf(func(ctx context.Context) { <-ctx.Done() }))
	m.is(t, "mailbox_full", `{P, R} = spawn_monitor(N, p, sleep, []), B = binary:copy(<<0>>, 100000),
	F = fun F() -> P ! B, F() end, S = spawn(F),
		receive {'DOWN', R, process, P, Why} -> exit(S, kill), Why end`)
	m.is(t, "true", `is_tuple(erpc:call(N, p, who, []))`)
	m.isIdle(t, own)
}

// A running function holds up a freeze, and when it has ended the node moves.
func freezeWhileFunctionsRun(t *testing.T, m *meeting) {
	m.n = startNode(t, "moves@127.0.0.1", m.erl.EpmdPort(), func(cfg *nodes.Config) { cfg.DrainTimeout = 3 * time.Second })
	m.is(t, "5", `P = spawn(N, p, converse, []), put(p, P), P ! {self(), 5}, receive {P, X} -> X end`)
	_, err := m.n.Freeze(t.Context())
	require.ErrorIs(t, err, nodes.ErrDraining)
	require.ErrorContains(t, err, "p:converse")
	m.is(t, "6", `P = get(p), P ! {self(), 6}, receive {P, X} -> X end`)

	ended := m.erl.Async(t, fmt.Sprintf(`timer:sleep(100), ok = erpc:call('%s', p, print, [<<>>])`, m.n.Name()))
	m.is(t, "normal", `P = get(p), R = monitor(process, P), P ! {exit, normal}, receive {'DOWN', R, _, _, Why} -> Why end`)
	frozen, err := m.n.Freeze(t.Context())
	require.NoError(t, err)
	frozen.Thaw()
	require.Equal(t, "ok", ended())
}
