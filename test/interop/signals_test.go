package interop

import (
	"context"
	"fmt"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// patient is an Erlang process that ends with the reason that it is sent.
const patient = `spawn(fun() -> receive {stop, Why} -> exit(Why) end end)`

func term(t testing.TB, text string) ei.Term {
	t.Helper()
	v, err := ei.Parse(text)
	require.NoError(t, err)
	return v
}

// We monitor processes of Erlang.
func monitorErlang(t *testing.T, m *meeting) {
	ctx := background(t)
	b := m.mailbox(t, "B", nil)

	var last ei.Pid
	for _, why := range []string{"normal", "{shutdown,[1,\"two\"]}", "killed", "#{a => <<1,2:3>>}"} {
		last = m.pid(t, patient)
		ref, err := b.Monitor(ctx, last)
		require.NoError(t, err)
		again, err := b.Monitor(ctx, last)
		require.NoError(t, err)
		require.NoError(t, b.Send(ctx, last, term(t, "{stop,"+why+"}")))
		first, err := b.Receive(ctx)
		require.NoError(t, err)
		require.Contains(t, []ei.Ref{ref, again}, first.Ref)
		require.Equal(t, last, first.From)
		require.Equal(t, why, first.Reason.String())
		other := ref
		if first.Ref == ref {
			other = again
		}
		require.Equal(t, why, down(t, b, other))
	}
	ref, err := b.Monitor(ctx, last)
	require.NoError(t, err)
	require.Equal(t, "noproc", down(t, b, ref))
	ref, err = b.MonitorName(ctx, m.erl.Name(), "nobody")
	require.NoError(t, err)
	require.Equal(t, "noproc", down(t, b, ref))

	m.erl.Do(t, "register(somebody, "+patient+")")
	ref, err = b.MonitorName(ctx, m.erl.Name(), "somebody")
	require.NoError(t, err)
	require.NoError(t, b.SendName(ctx, m.erl.Name(), "somebody", term(t, "{stop,done}")))
	require.Equal(t, "done", down(t, b, ref))

	// A monitor that was taken back reports nothing: a message that is sent after that arrives
	// first.
	pid := m.pid(t, patient)
	ref, err = b.Monitor(ctx, pid)
	require.NoError(t, err)
	b.Demonitor(context.Background(), ref)
	require.NoError(t, b.Send(ctx, pid, term(t, "{stop,unheard}")))
	m.erl.Do(t, m.about("B ! after_it"))
	require.Equal(t, "after_it", receive(t, b))
}

// Erlang processes monitor ours.
func monitoredByErlang(t *testing.T, m *meeting) {
	for i, why := range []string{"normal", "kill", "{shutdown,[1,\"two\"]}", "#{a => <<1,2:3>>}"} {
		v := fmt.Sprintf("B%d", i)
		b := m.mailbox(t, v, nil)
		require.NoError(t, m.n.Register(t.Context(), "box", b))
		m.is(t, [][2]string{{`monitor(process, ` + v + `), monitor(process, {box, N}), demonitor(monitor(process, ` + v +
			`)), net_adm:ping(N)`, `pong`}})
		b.Exit(term(t, why))
		m.is(t, [][2]string{
			{`[receive {'DOWN', _, process, ` + v + `, W} -> W end, receive {'DOWN', _, process, {box, N}, X} -> X end]`, "[" + why + "," +
				why + "]"},
			{`R = monitor(process, ` + v + `), receive {'DOWN', R, process, ` + v + `, W} -> W end`, `noproc`},
			{`R = monitor(process, {box, N}), receive {'DOWN', R, process, {box, N}, W} -> W end`, `noproc`},
			{`receive X -> X after 0 -> nothing end`, `nothing`},
		})
	}
	m.mailbox(t, "Last", nil)
	m.is(t, [][2]string{{`monitor(process, Last), monitor(process, {rex, N}), net_adm:ping(N)`, `pong`}})
	require.NoError(t, m.n.Shutdown(background(t)))
	m.is(t, [][2]string{
		{`[receive {'DOWN', _, process, Last, W} -> W end, receive {'DOWN', _, process, {rex, N}, X} -> X end]`, `[shutdown,shutdown]`},
	})
}

// Links that we make, and links that Erlang makes, end both ways.
func links(t *testing.T, m *meeting) {
	// The side that links.
	ours := func(t *testing.T, _ *meeting, b *nodes.Mailbox, pid ei.Pid) {
		require.NoError(t, b.Link(background(t), pid))
	}
	theirs := func(t *testing.T, m *meeting, b *nodes.Mailbox, pid ei.Pid) {
		require.NoError(t, b.Send(background(t), pid, term(t, "link")))
		require.Equal(t, "linked", receive(t, b))
	}
	both := func(t *testing.T, m *meeting, b *nodes.Mailbox, pid ei.Pid) {
		ours(t, m, b, pid)
		theirs(t, m, b, pid)
	}
	const partner = `(fun(Trap) -> spawn(fun() -> process_flag(trap_exit, Trap), (fun F() -> receive
			link -> link(B), B ! linked, F();
			unlink -> unlink(B), B ! unlinked, F();
			{stop, Why} -> exit(Why);
			{'EXIT', From, Why} -> persistent_term:get(shell) ! {partner, From, Why}, F()
		end end)() end) end)`
	m.erl.Do(t, "persistent_term:put(shell, self())")
	for _, who := range []struct {
		name string
		link func(*testing.T, *meeting, *nodes.Mailbox, ei.Pid)
	}{{"ours", ours}, {"theirs", theirs}, {"both", both}} {
		t.Run(who.name, func(t *testing.T) {
			ctx := background(t)

			// Theirs ends: our process ends with it.
			b := m.mailbox(t, "B", nil)
			pid := m.pid(t, partner+"(false)")
			who.link(t, m, b, pid)
			require.NoError(t, b.Send(ctx, pid, term(t, "{stop,{because,[1]}}")))
			require.Equal(t, "{because,[1]}", ended(t, b))

			// The same with trap_exit, where a normal end is a message too.
			b = m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
			for _, why := range []string{"normal", "{because,<<\"x\">>}", "kill"} {
				pid = m.pid(t, partner+"(false)")
				who.link(t, m, b, pid)
				require.NoError(t, b.Send(ctx, pid, term(t, "{stop,"+why+"}")))
				require.Equal(t, why, exit(t, b, pid))
			}

			// A normal end ends nobody else.
			b = m.mailbox(t, "B", nil)
			pid = m.pid(t, partner+"(false)")
			who.link(t, m, b, pid)
			require.NoError(t, b.Send(ctx, pid, term(t, "{stop,normal}")))
			m.eval(t, "B ! still")
			require.Equal(t, "still", receive(t, b))

			// Ours ends: theirs gets the exit signal, or ends with it.
			for _, why := range []string{"normal", "{because,<<\"x\">>}", "kill"} {
				b = m.mailbox(t, "B", nil)
				pid = m.pid(t, partner+"(true)")
				who.link(t, m, b, pid)
				b.Exit(term(t, why))
				m.is(t, [][2]string{{`receive {partner, B, Why} -> Why end`, why}})
			}
			b = m.mailbox(t, "B", nil)
			pid = m.pid(t, partner+"(false)")
			m.tell(t, "P", pid)
			who.link(t, m, b, pid)
			m.eval(t, `monitor(process, P)`)
			b.Exit(term(t, "over"))
			m.is(t, [][2]string{{`receive {'DOWN', _, process, P, Why} -> Why end`, `over`}})

			// A link that either side has taken back has no effect.
			for _, unlink := range []func(b *nodes.Mailbox, pid ei.Pid){
				func(b *nodes.Mailbox, pid ei.Pid) { require.NoError(t, b.Unlink(ctx, pid)) },
				func(b *nodes.Mailbox, pid ei.Pid) {
					require.NoError(t, b.Send(ctx, pid, term(t, "unlink")))
					require.Equal(t, "unlinked", receive(t, b))
				},
			} {
				b = m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
				pid = m.pid(t, partner+"(true)")
				who.link(t, m, b, pid)
				unlink(b, pid)
				require.NoError(t, b.Send(ctx, pid, term(t, "{stop,unheard}")))
				m.eval(t, "B ! still")
				require.Equal(t, "still", receive(t, b))
				pid = m.pid(t, partner+"(true)")
				who.link(t, m, b, pid)
				unlink(b, pid)
				who.link(t, m, b, pid)
				unlink(b, pid)
				b.Exit(term(t, "unheard"))
				m.is(t, [][2]string{{`R = monitor(process, B), receive {'DOWN', R, process, B, noproc} -> ok end,
					receive X -> X after 0 -> nothing end`, `nothing`}})
			}
		})
	}
}

// Links come and go on both sides at once, and at the end both sides agree about which are left.
func linkRaces(t *testing.T, m *meeting) {
	ctx := background(t)
	b := m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
	m.erl.Do(t, m.about(`persistent_term:put(racer, spawn(fun() ->
		process_flag(trap_exit, true), link(B), unlink(B),
		(fun F() -> receive go -> [begin link(B), unlink(B) end || _ <- lists:seq(1, 500)], link(B), B ! linked, F();
			{stop, Why} -> exit(Why) end end)() end))`))
	pid := m.pid(t, "persistent_term:get(racer)")
	for range 5 {
		require.NoError(t, b.Send(ctx, pid, term(t, "go")))
		for range 500 {
			require.NoError(t, b.Link(ctx, pid))
			require.NoError(t, b.Unlink(ctx, pid))
		}
		require.Equal(t, "linked", receive(t, b))
	}
	require.NoError(t, b.Link(ctx, pid))
	require.NoError(t, b.Send(ctx, pid, term(t, "{stop,over}")))
	require.Equal(t, "over", exit(t, b, pid))
	m.eval(t, "B ! nothing_else")
	require.Equal(t, "nothing_else", receive(t, b))
}

// Exit signals that are sent with exit/2, without a link.
func exitSignals(t *testing.T, m *meeting) {
	ctx := background(t)
	plain := m.mailbox(t, "Plain", nil)
	m.is(t, [][2]string{{`exit(Plain, normal), Plain ! still, true`, `true`}})
	require.Equal(t, "still", receive(t, plain))
	m.is(t, [][2]string{{`exit(Plain, {go, "away"})`, `true`}})
	require.Equal(t, `{go,"away"}`, ended(t, plain))

	trapping := m.mailbox(t, "Trapping", &nodes.MailboxOptions{TrapExit: true})
	m.is(t, [][2]string{{`[exit(Trapping, X) || X <- [normal, {go, "away"}, killed]]`, `[true,true,true]`}})
	shell := m.pid(t, "self()")
	for _, why := range []string{"normal", `{go,"away"}`, "killed"} {
		require.Equal(t, why, exit(t, trapping, shell))
	}
	m.is(t, [][2]string{{`monitor(process, Trapping), exit(Trapping, kill)`, `true`}})
	require.Equal(t, "killed", ended(t, trapping))
	m.is(t, [][2]string{{`receive {'DOWN', _, process, Trapping, Why} -> Why end`, `killed`}})

	b := m.mailbox(t, "B", nil)
	for _, tt := range [][2]string{{`{go,"away"}`, `{go,"away"}`}, {"kill", "killed"}} {
		pid := m.pid(t, patient)
		m.tell(t, "P", pid)
		m.eval(t, `monitor(process, P)`)
		require.NoError(t, b.SendExit(ctx, pid, term(t, "normal")))
		require.NoError(t, b.SendExit(ctx, pid, term(t, tt[0])))
		m.is(t, [][2]string{{`receive {'DOWN', _, process, P, Why} -> Why end`, tt[1]}})
	}
	pid := m.pid(t, `S = self(), spawn(fun() -> process_flag(trap_exit, true), receive X -> S ! X end end)`)
	require.NoError(t, b.SendExit(ctx, pid, term(t, "please")))
	m.is(t, [][2]string{{`receive {'EXIT', B, Why} -> Why end`, `please`}})
}

// nodedown of an Erlang node, in each way in which it may go.
func TestMonitorNode(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		m := &meeting{n: startNode(t, config(port))}
		for i, end := range []func(){
			func() { m.is(t, [][2]string{{`disconnect_node(N)`, `true`}}) }, func() { m.erl.Stop(t) }, func() { m.erl.Kill() },
		} {
			if i != 1 { // the same once more
				m.erl = start(t, r, otp.Options{EpmdPort: port})
			}
			b := m.mailbox(t, "B", nil)
			require.NoError(t, b.MonitorNode(background(t), m.erl.Name()))
			require.NoError(t, b.MonitorNode(background(t), m.erl.Name()))
			c := m.n.Conn(m.erl.Name())
			end()
			for range 2 {
				require.Equal(t, "{nodedown,'"+m.erl.Name()+"'}", receive(t, b))
			}
			await(t, c.Done())
			require.Error(t, c.Err())
		}
		b, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		require.ErrorIs(t, b.MonitorNode(background(t), "nobody@127.0.0.1"), nodes.ErrNoConnection)
	})
}

// MonitorNodes reports the same about Erlang nodes, hidden and visible ones, as
// net_kernel:monitor_nodes/2 on another Erlang node.
func TestMonitorNodes(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		type watch struct {
			judge *otp.Node
			n     *nodes.Node
			b     *nodes.Mailbox
		}
		var watches []watch
		for _, visible := range []bool{false, true} {
			w := watch{judge: start(t, r, otp.Options{EpmdPort: port, Hidden: !visible})}
			cfg := config(port)
			cfg.Visible = visible
			w.n = startNode(t, cfg)
			var err error
			w.b, err = w.n.NewMailbox(nil)
			require.NoError(t, err)
			_, err = w.b.MonitorNodes(context.Background(), nodes.AllNodes)
			require.NoError(t, err)
			require.Equal(t, "ok", w.judge.Eval(t, "net_kernel:monitor_nodes(true, [{node_type, all}])"))
			watches = append(watches, w)
		}
		for _, hidden := range []bool{false, true} {
			erl := start(t, r, otp.Options{EpmdPort: port, Hidden: hidden})
			for _, what := range []string{"nodeup", "nodedown"} {
				for _, w := range watches {
					for _, to := range []string{w.n.Name(), w.judge.Name()} {
						if what == "nodeup" {
							require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+to+"')"))
						}
					}
				}
				if what == "nodedown" {
					erl.Kill()
				}
				for _, w := range watches {
					want := w.judge.Eval(t, "receive {"+what+", N, I} when N =:= '"+erl.Name()+"' -> {"+what+", N, I} after 20000 -> none end")
					require.Equal(t, want, receive(t, w.b))
				}
			}
		}
	})
}
