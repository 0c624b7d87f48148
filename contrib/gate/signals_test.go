package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Signals of links and monitors that there are not do not reach the BEAM: it would keep their
// atoms.
func TestSignalsWithoutTies(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayLink, Target: "*", Allow: true})
		})
		note := pidOf(t, w.secrets(t), "plain")
		me := a.pid(1)
		ours := ei.Ref{Node: note.Node, Creation: note.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
		c := a.again(t)
		n := 0
		answers := func(ctl dist.Control, payload bool) string {
			var p []byte
			if n++; payload {
				p = encoded(ei.Atom(fmt.Sprintf("untied%d", n)))
			}
			if ctl.Reason != nil {
				ctl.Reason = encoded(ei.Atom(fmt.Sprintf("untied%d", n)))
			}
			ops, open := c.answers(a, frameFor(c.peer.Flags, &ctl, p))
			require.True(t, open, "%v", ctl.Op)
			return strings.Join(ops, " ")
		}
		old := []byte{106}
		require.Empty(t, answers(dist.Control{Op: dist.OpPayloadExit, From: me, To: note}, true))
		require.Empty(t, answers(dist.Control{Op: dist.OpExit, From: me, To: note, Reason: old}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpPayloadMonitorPExit, From: me, To: note, Ref: ours}, true))
		require.Empty(t, answers(dist.Control{Op: dist.OpMonitorPExit, From: me, To: note, Ref: ours, Reason: old}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpSpawnReply, Ref: ours, To: note, Result: encoded(ei.Atom("untied"))}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpUnlink, From: me, To: note}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpUnlinkIDAck, From: me, To: note, ID: 7}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpDemonitorP, From: me, ToName: "untied_name", Ref: a.ref(5)}, false))
		require.Equal(t, "UNLINK_ID_ACK", answers(dist.Control{Op: dist.OpUnlinkID, From: me, To: note, ID: 7}, false), "as of a BEAM")
		require.Empty(t, answers(dist.Control{Op: dist.OpLink, From: me, To: note}, false))
		require.Empty(t, answers(dist.Control{Op: dist.OpExit, From: me, To: note, Reason: old}, false), "an old form")
		known := func(name string) string {
			return w.inner.Do(t, fmt.Sprintf("try list_to_existing_atom(%q) of _ -> true catch error:_ -> false end", name))
		}
		w.inner.Becomes(t, "{links, L} = process_info(whereis(plain), links), length(L)", "1")
		for i := range n {
			require.Equal(t, "false", known(fmt.Sprintf("untied%d", i+1)), i+1)
		}
		require.Equal(t, "false", known("untied"))
		require.Equal(t, "false", known("untied_name"))
		require.NoError(t, c.Close())
	})
}

// A node outside sets as many monitors as the limit says, and each only once.
func TestMonitorsAreCounted(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Limits.Monitors = 10
			w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayLink, Target: "*", Allow: true},
				gate.Rule{Op: gate.MaySpawn, Target: "*", Allow: true})
		})
		note := pidOf(t, w.secrets(t), "note")
		c := a.again(t)
		count := func(ctls ...dist.Control) (refused int) {
			var b []byte
			for _, ctl := range ctls {
				b = append(b, frameFor(c.peer.Flags, &ctl, nil)...)
			}
			ops, open := c.answers(a, b)
			require.True(t, open)
			for _, op := range ops {
				if op == "PAYLOAD_MONITOR_P_EXIT" || op == "PAYLOAD_EXIT" {
					refused++
				}
			}
			return refused
		}
		monitor := func(i uint32) dist.Control {
			return dist.Control{Op: dist.OpMonitorP, From: a.pid(1), ToName: "rex", Ref: a.ref(i, 9)}
		}
		var list []dist.Control
		for i := range uint32(20) {
			list = append(list, monitor(i))
		}
		require.Equal(t, 10, count(list...))
		require.Equal(t, 1, count(dist.Control{Op: dist.OpLink, From: a.pid(1), To: note}))
		require.Equal(t, 0, count(dist.Control{Op: dist.OpDemonitorP, From: a.pid(1), ToName: "rex", Ref: a.ref(1, 9)}, monitor(30)))
		require.Equal(t, 1, count(monitor(31)))
		require.Equal(t, 1, count(monitor(30)), "a reference that is in use")
		w.inner.Becomes(t, "{monitored_by, L} = process_info(whereis(rex), monitored_by), length([P || P <- L, node(P) =/= node()])", "10")
		require.NoError(t, c.Close())

		// A function that runs counts until its end.
		c = a.again(t)
		list = nil
		for i := range uint32(10) {
			list = append(list, dist.Control{Op: dist.OpSpawnRequest, Ref: a.ref(i, 9), From: a.pid(1), GroupLeader: a.pid(1),
				Module: "shop", Function: "loop", Options: encoded(ei.List{ei.Atom("monitor")})})
		}
		var b []byte
		for _, ctl := range list {
			b = append(b, frameFor(c.peer.Flags, &ctl, encoded(ei.List{}))...)
		}
		ops, open := c.answers(a, b)
		require.True(t, open)
		for len(ops) < 10 { // the BEAM answers when it likes
			ctl, err := c.next()
			require.NoError(t, err)
			ops = append(ops, ctl.Op.String())
		}
		require.Equal(t, slices.Repeat([]string{"SPAWN_REPLY"}, 10), ops)
		require.Equal(t, 1, count(monitor(50)))
		require.NoError(t, c.Close())
	})
}

// The gate answers pings itself, and net_kernel hears nothing of them: for each ping of a node that
// reads nothing it would have a process, or keep the answer.
func TestPingsStayOutside(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		_, a := withGate(t, r, func(w *world) { w.cfg.Rules = nil })
		c := a.again(t)
		me, ref := a.pid(1), a.ref(1, 9)
		var b []byte
		add := func(ctl dist.Control, payload []byte) { b = append(b, frameFor(c.peer.Flags, &ctl, payload)...) }
		for _, tag := range []ei.Term{ref, ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}} {
			for _, op := range []dist.Op{dist.OpMonitorP, dist.OpRegSend, dist.OpDemonitorP} {
				var ping []byte
				if op == dist.OpRegSend {
					ping = encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{me, tag}, ei.Tuple{ei.Atom("is_auth"), ei.Atom(a.name)}})
				}
				add(dist.Control{Op: op, From: me, ToName: "net_kernel", Ref: ref}, ping)
			}
		}
		ops, open := c.answers(a, b)
		require.True(t, open)
		require.Equal(t, []string{"SEND", "SEND"}, ops, "net_kernel would send as a process")
		require.NoError(t, c.Close())
	})
}

// Functions that rex runs count until they are answered, whether the caller monitors it or not.
func TestCallsOfRexAreCounted(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Limits.Monitors = 10
			w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayCall, Target: "shop:loop/0", Allow: true})
		})
		c := a.again(t)
		me := a.pid(1)
		call := func(i uint32, function ei.Atom, args ...ei.Term) []byte {
			return frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: me, ToName: "rex"}, encoded(ei.Tuple{ei.Atom("$gen_call"),
				ei.Tuple{me, a.ref(i, 9)}, ei.Tuple{ei.Atom("call"), ei.Atom("shop"), function, ei.List(args), me}}))
		}
		next := func(want dist.Op) {
			ctl, err := c.next()
			require.NoError(t, err)
			require.Equal(t, want, ctl.Op)
		}
		for i := range uint32(30) { // one after the other
			_, err := c.Write(call(i, "quote", ei.Int(1)))
			require.NoError(t, err)
			next(dist.OpSendSender)
		}
		var b []byte
		for i := range uint32(12) {
			b = append(b, call(i, "loop")...)
		}
		ops, open := c.answers(a, append(b, call(1, "loop")...))
		require.True(t, open)
		require.Equal(t, "PAYLOAD_MONITOR_P_EXIT PAYLOAD_MONITOR_P_EXIT PAYLOAD_MONITOR_P_EXIT", strings.Join(ops, " "))
		loops := "[P || P <- processes(), {current_function, {shop, loop, 0}} <- [process_info(P, current_function)]]"
		w.inner.Becomes(t, "length("+loops+")", "11") // shop's own, too
		w.inner.Do(t, "[exit(P, kill) || P <- "+loops+", whereis(plain) =/= P]")
		for range 10 {
			next(dist.OpSendSender)
		}
		_, err := c.Write(call(1, "quote", ei.Int(1)))
		require.NoError(t, err)
		next(dist.OpSendSender)
		require.NoError(t, c.Close())
	})
}

// endings is a process outside that ends, or answers, as it is told to.
const endings = `
-module(endings).
-export([start/0, run/0, value/1, server/0, fun_/1]).
fun_(small) -> fun lists:map/2;
fun_(closure) -> X = self(), fun() -> X end;
fun_(large) -> {binary:copy(<<1>>, 300000), fun lists:map/2}.
value(Kind) -> fun_(Kind).
start() -> spawn(fun run/0).
run() -> receive {ends, Kind} -> exit({badarity, fun_(Kind)}) end.
server() -> register(funs, self()), serve().
serve() ->
    receive
        {'$gen_call', {P, [alias | A] = Tag}, Kind} when is_pid(P) -> A ! {Tag, fun_(Kind)};
        {'$gen_call', {P, [[alias | A] | _] = Tag}, Kind} when is_pid(P) -> A ! {Tag, fun_(Kind)};
        {'$gen_call', {P, Tag}, Kind} -> P ! {Tag, fun_(Kind)};
        {io_request, P, As, _} -> P ! {io_reply, As, fun_(small)}
    end, serve().
`

// Nobody inside waits, or stays linked, because what a process outside says has a fun in it.
func TestFunsEndCalls(t *testing.T) {
	t.Parallel()
	pairs(t, func(t *testing.T, out, in otp.Release) {
		w := newWorld(t, out, in)
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		w.outer.Load(t, endings)
		w.inner.Load(t, endings)
		w.outer.Do(t, "spawn(endings, server, []), ok")
		w.outer.Becomes(t, "is_pid(whereis(funs))", "true")
		for _, kind := range []string{"small", "closure", "large"} {
			for _, tt := range []struct{ ask, want string }{
				{"catch gen_server:call({funs, OUT}, HOW, infinity)", "{'EXIT',{eacces,{gen_server,call,"},
				// OTP 25 has no monitor in the tag, so that it gets an answer.
				{"case gen_server:multi_call([OUT], funs, HOW) of {[], [OUT]} -> none; {[{OUT, eacces}], []} -> none; M -> M end", "none"},
				{"case gen_server:multi_call([OUT, node()], funs, HOW) of {[], _} -> none; {[{OUT, eacces}], _} -> none; M -> M end", "none"},
				{"gen_server:receive_response(gen_server:send_request({funs, OUT}, HOW), infinity)", "{error,{eacces,"},
				{"catch erpc:call(OUT, endings, value, [HOW])", "{'EXIT',"},
				{"rpc:call(OUT, endings, value, [HOW])", "{badrpc,"},
				{`{Q, M} = spawn_monitor(OUT, endings, run, []), Q ! {ends, HOW}, receive {'DOWN', M, _, Q, Why} -> Why end`, "eacces"},
				{`P = erpc:call(OUT, endings, start, []), M = monitor(process, P), P ! {ends, HOW},
					receive {'DOWN', M, process, P, Why} -> Why end`, "eacces"},
				{`P = erpc:call(OUT, endings, start, []), process_flag(trap_exit, true), link(P), P ! {ends, HOW},
					receive {'EXIT', P, Why} -> Why end`, "eacces"},
				{`process_flag(trap_exit, true), P = spawn_link(OUT, endings, run, []), P ! {ends, HOW},
					receive {'EXIT', P, Why} -> Why end`, "eacces"},
				{`P = erpc:call(OUT, erlang, whereis, [funs]), io:format(P, "x", [])`, "error:"},
				{"R = make_ref(), {funs, OUT} ! {'$gen_call', {self(), R}, HOW}, receive {R, Answer} -> Answer end", "eacces"},
				{"lists:member(OUT, nodes(hidden))", "true"},
			} {
				ask := strings.ReplaceAll(w.in(tt.ask), "HOW", kind)
				got := w.inner.Eval(t, "Me = self(), spawn(fun() -> Me ! {said, catch (begin "+ask+" end)} end), receive {said, X} -> X end")
				require.True(t, strings.HasPrefix(strings.TrimPrefix(got, "{'EXIT',{terminated,"), tt.want) ||
					tt.want == "error:" && strings.Contains(got, "terminated"), "%s: %s, want %s", ask, got, tt.want)
			}
		}
		// Outside, who asks with a fun hears so.
		require.Contains(t, w.ask(t, "catch gen_server:call({till, IN}, fun lists:map/2, infinity)"), "eacces")
	})
}

// Links and monitors are known to the gate after moves, too, in both directions; and those that an
// older gate has not told of have their ends.
func TestTiesMove(t *testing.T) {
	t.Parallel()
	for _, forgets := range []bool{false, true} {
		pairs(t, func(t *testing.T, out, in otp.Release) { tiesMove(t, out, in, forgets) })
	}
}

func tiesMove(t *testing.T, out, in otp.Release, forgets bool) {
	w := newWorld(t, out, in)
	w.cfg.Rules = []gate.Rule{{Allow: true}}
	w.cfg.Limits.Funs = 100
	g := w.start(t, nil)
	w.outer.Load(t, endings)
	w.inner.Load(t, endings)
	watch := func(n *otp.Node, far string) func() string {
		answer := n.Async(t, w.in(fmt.Sprintf(`
				process_flag(trap_exit, true), register(watch, self()),
				S = fun() -> erpc:call(%[1]s, endings, start, []) end,
				A = S(), link(A), B = S(), M = monitor(process, B), C = spawn_link(%[1]s, endings, run, []),
				{D, N} = spawn_monitor(%[1]s, endings, run, []),
				E = S(), link(E), unlink(E), link(E), F = S(), link(F), unlink(F),
				register(tied, spawn(fun() -> receive stop -> ok end end)),
				receive go -> ok end,
				[exit(X, done) || X <- [A, B, C, D, E, F]],
				receive {'EXIT', A, done} -> ok end, receive {'DOWN', M, _, B, done} -> ok end,
				receive {'EXIT', C, done} -> ok end, receive {'DOWN', N, _, D, done} -> ok end,
				receive {'EXIT', E, done} -> ok end, receive {'EXIT', F, done} -> no after 0 -> yes end`, far)))
		n.Becomes(t, "is_pid(whereis(tied))", "true")
		return answer
	}
	inner, outer := watch(w.inner, "OUT"), watch(w.outer, "IN")
	for range 2 {
		g, _ = w.moves(t, g)
	}
	if forgets {
		g.ForgetTies()
	}
	defer func() { require.NoError(t, g.Close()) }()
	w.inner.Do(t, "watch ! go, ok")
	w.outer.Do(t, "watch ! go, ok")
	require.Equal(t, "yes", inner())
	require.Equal(t, "yes", outer())
	for _, n := range []*otp.Node{w.inner, w.outer} {
		n.Becomes(t, "[P || P <- processes(), {links, L} <- [process_info(P, links)], Q <- L, is_pid(Q), node(Q) =/= node()]", "[]")
	}
}
